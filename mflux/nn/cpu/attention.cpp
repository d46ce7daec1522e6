// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/attention.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/nn/cpu/gemm.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/rows.h"
#include "mflux/nn/cpu/scratch.h"
#include "mflux/nn/cpu/softmax.h"

namespace mflux::nn::cpu {
namespace {

// A tile of scores stays in the cache of its core.
constexpr size_t kQueries = 256;
constexpr size_t kKeys = 256;

// [batch, heads, tokens, head_dim] in any layout that BLAS can read, or a copy.
class Heads {
 public:
  explicit Heads(const mx::array& x)
      : heads(static_cast<size_t>(x.shape(1))),
        tokens(static_cast<size_t>(x.shape(2))),
        width(static_cast<size_t>(x.shape(3))) {
    const auto w = static_cast<int64_t>(width);
    if ((w == 1 || x.strides(3) == 1) && (tokens == 1 || x.strides(2) >= w)) {
      data_ = x.data<float>();
      strides_ = {x.strides(0), x.strides(1), tokens == 1 ? w : x.strides(2)};
    } else {
      data_ = copy_.emplace(x).floats();
      const int64_t head = x.shape(2) * w;
      strides_ = {x.shape(1) * head, head, w};
    }
  }
  Matrix at(size_t batch, size_t head, size_t token) const {
    const auto offset = static_cast<int64_t>(batch) * strides_[0] +
                        static_cast<int64_t>(head) * strides_[1] +
                        static_cast<int64_t>(token) * strides_[2];
    return {data_ + offset, static_cast<size_t>(strides_[2])};
  }

  size_t heads;
  size_t tokens;
  size_t width;

 private:
  const float* data_ = nullptr;
  std::array<int64_t, 3> strides_ = {};
  std::optional<Packed> copy_ = {};
};

// [batch, heads, queries, keys]; mostly broadcast, so read where it lies.
class Mask {
 public:
  explicit Mask(const mx::array& x)
      : data_(x.data<float>()), strides_{x.strides(0), x.strides(1), x.strides(2), x.strides(3)} {}

  // For keys [key, key + count) of a query; `space` is for those that do not lie side by side.
  const float* at(std::array<size_t, 3> query, size_t key, size_t count, float* space) const {
    const float* row = data_ + static_cast<int64_t>(key) * strides_[3];
    for (size_t i = 0; i < 3; ++i) row += static_cast<int64_t>(query[i]) * strides_[i];
    if (strides_[3] == 1) return row;
    for (size_t i = 0; i < count; ++i) space[i] = row[static_cast<int64_t>(i) * strides_[3]];
    return space;
  }

 private:
  const float* data_;
  std::array<int64_t, 4> strides_;
};

class Computation {
 public:
  Computation(const std::vector<mx::array>& arrays, float factor)
      : q_(arrays[0]), k_(arrays[1]), v_(arrays[2]), factor_(factor) {
    if (arrays.size() > 3) mask_.emplace(arrays[3]);
  }

  // out: [batch, queries, heads, width of v]
  void run(size_t batches, float* out) const {
    const size_t blocks = (q_.tokens + kQueries - 1) / kQueries;
    tbb::parallel_for(size_t{0}, batches * q_.heads * blocks, [&](size_t task) {
      const size_t batch = task / blocks / q_.heads;
      const size_t head = task / blocks % q_.heads;
      queries(batch, head, task % blocks * kQueries, out);
    });
  }

 private:
  void queries(size_t batch, size_t head, size_t first, float* out) const {
    const size_t count = std::min(kQueries, q_.tokens - first);
    const size_t kv_head = head / (q_.heads / k_.heads);
    const size_t stride = q_.heads * v_.width;
    float* result = out + (batch * q_.tokens + first) * stride + head * v_.width;
    const Scratch scores(kQueries * kKeys + kKeys);
    std::array<SoftmaxRow, kQueries> rows;
    rows.fill({-std::numeric_limits<float>::infinity(), 0});
    for (size_t key = 0; key < k_.tokens; key += kKeys) {
      const size_t keys = std::min(kKeys, k_.tokens - key);
      multiply_transposed(
          {.m = count, .n = keys, .k = q_.width, .factor = factor_},
          q_.at(batch, head, first),
          k_.at(batch, kv_head, key),
          scores.data(),
          keys);
      for (size_t i = 0; i < count; ++i) {
        float* space = scores.data() + kQueries * kKeys;
        const float* mask = mask_ ? mask_->at({batch, head, first + i}, key, keys, space) : nullptr;
        // Before the first product there is nothing to bring to a new largest score.
        const size_t width = key == 0 ? 0 : v_.width;
        softmax_piece(scores.data() + i * keys, mask, keys, rows[i], result + i * stride, width);
      }
      multiply(
          {.m = count, .n = v_.width, .k = keys, .accumulate = key != 0},
          {scores.data(), keys},
          v_.at(batch, kv_head, key),
          result,
          stride);
    }
    // Where the mask excludes everything this is 0 / 0, as in MLX.
    for (size_t i = 0; i < count; ++i) scale(result + i * stride, v_.width, 1 / rows[i].sum);
  }

  Heads q_;
  Heads k_;
  Heads v_;
  float factor_;
  std::optional<Mask> mask_ = {};
};

}  // namespace

mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask) {
  std::vector<mx::array> inputs;
  for (const mx::array& x : {q, k, v}) inputs.push_back(mx::astype(x, mx::float32));
  if (mask) {
    const mx::Shape scores = {q.shape(0), q.shape(1), q.shape(2), k.shape(2)};
    inputs.push_back(mx::broadcast_to(mx::astype(*mask, mx::float32), scores));
  }
  // The layout in which the heads of a token become one row again without a copy.
  const mx::Shape out = {q.shape(0), q.shape(2), q.shape(1), v.shape(3)};
  const auto compute = [scale](const std::vector<mx::array>& arrays, std::span<float> result) {
    Computation(arrays, scale).run(static_cast<size_t>(arrays[0].shape(0)), result.data());
  };
  return mx::transpose(operation("Attention", out, std::move(inputs), compute), {0, 2, 1, 3});
}

}  // namespace mflux::nn::cpu
