// SPDX-License-Identifier: MIT
#include "mflux/kernels/low_rank.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/low_rank.cpp"
#include <cmath>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

// kRows x (kVectors vectors) of the product, held in registers over the whole rank.
template <size_t kRows, size_t kVectors>
HWY_INLINE void product_block(
    const float* up, const float* down, size_t rank, size_t columns, float* delta) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  FloatVector sums[kRows][kVectors];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  for (size_t k = 0; k < rank; ++k) {
    FloatVector right[kVectors];
    for (size_t v = 0; v < kVectors; ++v) right[v] = hn::LoadU(d, down + k * columns + v * lanes);
    for (size_t i = 0; i < kRows; ++i) {
      const FloatVector left = hn::Set(d, up[i * rank + k]);
      for (size_t v = 0; v < kVectors; ++v)
        sums[i][v] = fused_multiply_add(d, left, right[v], sums[i][v]);
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v)
      hn::StoreU(sums[i][v], d, delta + i * columns + v * lanes);
  }
}

template <size_t kVectors>
void product_panel(
    const float* up, const float* down, size_t rows, size_t rank, size_t columns, float* delta) {
  size_t i = 0;
  for (; i + 4 <= rows; i += 4) {
    product_block<4, kVectors>(up + i * rank, down, rank, columns, delta + i * columns);
  }
  for (; i < rows; ++i)
    product_block<1, kVectors>(up + i * rank, down, rank, columns, delta + i * columns);
}

void low_rank_product(
    const float* up, const float* down, size_t rows, size_t rank, size_t columns, float* delta) {
  const size_t lanes = hn::Lanes(Floats());
  size_t j = 0;
  for (; j + 2 * lanes <= columns; j += 2 * lanes) {
    product_panel<2>(up, down + j, rows, rank, columns, delta + j);
  }
  for (; j + lanes <= columns; j += lanes) {
    product_panel<1>(up, down + j, rows, rank, columns, delta + j);
  }
  for (; j < columns; ++j) {
    for (size_t i = 0; i < rows; ++i) {
      float sum = 0;
      for (size_t k = 0; k < rank; ++k)
        sum = std::fma(up[i * rank + k], down[k * columns + j], sum);
      delta[i * columns + j] = sum;
    }
  }
}

void add(const float* delta, size_t count, float* w) {
  for (size_t i = 0; i < count; ++i) w[i] += delta[i];
}

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::kernels {
namespace {

HWY_EXPORT(low_rank_product);
HWY_EXPORT(add);

}  // namespace

void low_rank_product(
    std::span<const float> up,
    std::span<const float> down,
    uint64_t rows,
    uint64_t rank,
    uint64_t columns,
    std::span<float> delta) {
  HWY_DYNAMIC_DISPATCH(low_rank_product)(up.data(), down.data(), rows, rank, columns, delta.data());
}

void add(std::span<const float> delta, std::span<float> w) {
  HWY_DYNAMIC_DISPATCH(add)(delta.data(), delta.size(), w.data());
}

}  // namespace mflux::kernels
#endif
