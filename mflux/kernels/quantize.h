// SPDX-License-Identifier: MIT
// MLX's quantizers, bit for bit, on whole rows: a row's codes, scales and biases depend on nothing
// outside the row.
//
//   quantize(format, w, Dtype::bf16, Rounding::stored_scales, {packed, scales, biases});
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mflux/base/quantization.h"

namespace mflux::kernels {

// How a weight came to be float32.
enum class Rounding : uint8_t {
  // It is stored as it came, in `dtype`: the result is what mx.quantize gives for that array.
  // Affine codes are rounded
  // against scales and biases in float32; the fp modes calculate in `dtype`, as MLX's CPU backend
  // does.
  exact_scales,
  // It is a float32 sum (a baked weight): affine codes are rounded against the scales and biases
  // that are written, cast
  // to `dtype` (as Python's mflux 0.24 bakes); the fp modes calculate in float32.
  stored_scales,
};

struct PackedRows {  // sizes as in base/quantization.h; biases empty where the format has none
  std::span<std::byte> packed;
  std::span<std::byte> scales;
  std::span<std::byte> biases;
};

struct ConstPackedRows {
  std::span<const std::byte> packed;
  std::span<const std::byte> scales;
  std::span<const std::byte> biases;
};

// w: whole rows, all finite. dtype: F32, F16 or BF16, of the model and so of affine scales and
// biases; the scales of the fp modes are U8.
void quantize(
    const QuantFormat& format,
    std::span<const float> w,
    Dtype dtype,
    Rounding rounding,
    PackedRows out);

// The codes nearest to w on the grid that out.scales and out.biases already hold; writes
// out.packed. Where a scale is 0, so are the codes.
void quantize_on_grid(
    const QuantFormat& format, std::span<const float> w, Dtype dtype, PackedRows out);

// out: whole rows; code * scale + bias, each step in float32: the value the packed weight stands
// for.
void dequantize(const QuantFormat& format, ConstPackedRows in, Dtype dtype, std::span<float> out);

}  // namespace mflux::kernels
