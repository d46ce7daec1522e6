// SPDX-License-Identifier: MIT
// Axes that follow on each other in memory are joined, so finding a row takes one division for each
// axis that is left, most often none. Only if the values of a row do not lie side by side is the
// array copied.
#include "mflux/nn/cpu/rows.h"

#include <algorithm>
#include <cstring>

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include "mflux/base/error.h"

namespace mflux::nn::cpu {
namespace {

// The values of x, each of `bytes` bytes, in order.
void copy_values(const mx::array& x, size_t bytes, std::byte* out) {
  const auto* data = x.data<std::byte>();
  std::vector<int64_t> index(x.ndim(), 0);
  int64_t offset = 0;
  for (size_t i = 0; i < x.size(); ++i, out += bytes) {
    std::memcpy(out, data + offset * static_cast<int64_t>(bytes), bytes);
    for (auto axis = static_cast<int>(x.ndim()) - 1; axis >= 0; --axis) {
      const auto a = static_cast<size_t>(axis);
      offset += x.strides(axis);
      if (++index[a] < x.shape(axis)) break;
      offset -= x.strides(axis) * x.shape(axis);
      index[a] = 0;
    }
  }
}

}  // namespace

Dtype dtype_of(const mx::array& x) {
  if (x.dtype() == mx::float32) return Dtype::f32;
  if (x.dtype() == mx::bfloat16) return Dtype::bf16;
  if (x.dtype() == mx::float16) return Dtype::f16;
  if (x.dtype() == mx::uint8) return Dtype::u8;
  fail("a weight is not F32, BF16, F16 or U8");
}

Rows::Rows(const mx::array& x) : data_(x.data<float>()) {
  if (x.ndim() == 0) return;
  width_ = static_cast<size_t>(x.shape(-1));
  const bool together = width_ == 1 || x.strides(-1) == 1;
  if (!together) {
    copy_.resize(x.size());
    copy_values(x, sizeof(float), reinterpret_cast<std::byte*>(copy_.data()));
    data_ = copy_.data();
  }
  auto packed_stride = static_cast<int64_t>(width_);
  for (auto axis = static_cast<int>(x.ndim()) - 2; axis >= 0; --axis) {
    const auto size = static_cast<size_t>(x.shape(axis));
    const int64_t stride = together ? x.strides(axis) : packed_stride;
    packed_stride *= x.shape(axis);
    count_ *= size;
    if (size == 1) continue;
    if (!axes_.empty() &&
        stride == axes_.front().stride * static_cast<int64_t>(axes_.front().size)) {
      axes_.front().size *= size;
    } else {
      axes_.insert(axes_.begin(), {size, stride});
    }
  }
}

const float* Rows::operator[](size_t row) const {
  int64_t offset = 0;
  for (size_t i = axes_.size(); i-- > 0;) {
    offset += static_cast<int64_t>(row % axes_[i].size) * axes_[i].stride;
    row /= axes_[i].size;
  }
  return data_ + offset;
}

std::optional<size_t> Rows::stride() const {
  if (axes_.empty()) return width_;
  if (axes_.size() > 1 || axes_[0].stride < static_cast<int64_t>(width_)) return std::nullopt;
  return static_cast<size_t>(axes_[0].stride);
}

Packed::Packed(const mx::array& x) {
  const auto* data = x.data<std::byte>();
  if (!x.flags().row_contiguous) {
    copy_.resize(x.nbytes());
    copy_values(x, x.itemsize(), copy_.data());
    data = copy_.data();
  }
  bytes_ = {data, x.nbytes()};
}

void each_rows(
    size_t count, size_t width, const std::function<void(size_t begin, size_t end)>& use) {
  constexpr size_t kTaskFloats = 16384;
  const size_t grain = std::max<size_t>(1, kTaskFloats / std::max<size_t>(1, width));
  tbb::parallel_for(
      tbb::blocked_range<size_t>(0, count, grain),
      [&](const tbb::blocked_range<size_t>& range) { use(range.begin(), range.end()); });
}

}  // namespace mflux::nn::cpu
