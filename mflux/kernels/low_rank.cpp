// SPDX-License-Identifier: MIT
// down is packed into panels of columns that lie together. A few rows of up times one panel stay in
// registers over the whole rank and are written once; sums go over the rank in order, with one
// fused multiplication a step, so every target gives the same bits.
#include "mflux/kernels/low_rank.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/low_rank.cpp"
#include <algorithm>
#include <cstring>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

// kRows rows of one panel, kVectors vectors wide, held in registers over the whole rank.
template <size_t kRows, size_t kVectors>
HWY_INLINE void product_block(
    const float* up, const float* panel, size_t rank, size_t stride, float* out) {
  const Floats d;
  constexpr size_t kLanes = hn::MaxLanes(Floats());
  FloatVector sums[kRows][kVectors];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  for (size_t k = 0; k < rank; ++k) {
    FloatVector right[kVectors];
    for (size_t v = 0; v < kVectors; ++v)
      right[v] = hn::LoadU(d, panel + k * kPanelColumns + v * kLanes);
    for (size_t i = 0; i < kRows; ++i) {
      const FloatVector left = hn::Set(d, up[i * rank + k]);
      for (size_t v = 0; v < kVectors; ++v)
        sums[i][v] = fused_multiply_add(d, left, right[v], sums[i][v]);
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t v = 0; v < kVectors; ++v) hn::StoreU(sums[i][v], d, out + i * stride + v * kLanes);
  }
}

// All columns of a panel for kRows rows; out has `stride` floats between rows.
template <size_t kRows>
HWY_INLINE void product_rows(
    const float* up, const float* panel, size_t rank, size_t stride, float* out) {
  constexpr size_t kLanes = hn::MaxLanes(Floats());
  constexpr size_t kVectors = kPanelColumns / kLanes < 2 ? 1 : 2;
  for (size_t column = 0; column < kPanelColumns; column += kVectors * kLanes) {
    product_block<kRows, kVectors>(up, panel + column, rank, stride, out + column);
  }
}

// As many rows at a time as there are registers for.
constexpr size_t kBlockRows = hn::MaxLanes(Floats()) == 16 ? 8 : 4;

void product_panel(
    const float* up, const float* panel, size_t rows, size_t rank, size_t stride, float* out) {
  size_t i = 0;
  for (; i + kBlockRows <= rows; i += kBlockRows) {
    product_rows<kBlockRows>(up + i * rank, panel, rank, stride, out + i * stride);
  }
  for (; i + 4 <= rows; i += 4)
    product_rows<4>(up + i * rank, panel, rank, stride, out + i * stride);
  for (; i < rows; ++i) product_rows<1>(up + i * rank, panel, rank, stride, out + i * stride);
}

void low_rank_product(
    const float* up, const float* packed, size_t rows, size_t rank, size_t columns, float* delta) {
  const size_t whole = columns / kPanelColumns * kPanelColumns;
  for (size_t j = 0; j < whole; j += kPanelColumns) {
    product_panel(up, packed + j * rank, rows, rank, columns, delta + j);
  }
  if (whole == columns) return;
  for (size_t i = 0; i < rows; ++i) {
    float last[kPanelColumns];
    product_rows<1>(up + i * rank, packed + whole * rank, rank, kPanelColumns, last);
    std::memcpy(delta + i * columns + whole, last, (columns - whole) * sizeof(float));
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

uint64_t packed_down_size(uint64_t rank, uint64_t columns) {
  return (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns * rank;
}

void pack_down(
    std::span<const float> down, uint64_t rank, uint64_t columns, std::span<float> packed) {
  float* out = packed.data();
  for (uint64_t begin = 0; begin < columns; begin += kPanelColumns) {
    const uint64_t width = std::min(kPanelColumns, columns - begin);
    for (uint64_t k = 0; k < rank; ++k, out += kPanelColumns) {
      std::memcpy(out, down.data() + k * columns + begin, width * sizeof(float));
      std::memset(out + width, 0, (kPanelColumns - width) * sizeof(float));
    }
  }
}

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
