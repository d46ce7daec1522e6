// SPDX-License-Identifier: MIT
// MLX's quantizers, bit for bit, on whole rows: a row's codes, scales and biases depend on nothing outside the row.
//
//   quantize(format, w, rows, columns, Dtype::bf16, Rounding::stored_scales, {packed, scales, biases});
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mflux/base/quantization.h"

namespace mflux::kernels {

// Against which scales and biases the affine codes are rounded.
enum class Rounding : uint8_t {
  exact_scales,   // the float32 ones, as mx.quantize does: for tensors that are stored as they came
  stored_scales,  // the ones that are written, cast to the scale dtype: for baked tensors (as Python's mflux 0.24)
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

// w: [rows, columns], all finite. scale_dtype: F32, F16 or BF16 (affine; the fp modes store U8 and ignore it, and
// ignore `rounding`: their scales are what is stored).
void quantize(
    const QuantFormat& format,
    std::span<const float> w,
    uint64_t rows,
    uint64_t columns,
    Dtype scale_dtype,
    Rounding rounding,
    PackedRows out);

// code * scale + bias, each step in float32: the value the packed weight stands for.
void dequantize(
    const QuantFormat& format,
    ConstPackedRows in,
    uint64_t rows,
    uint64_t columns,
    Dtype scale_dtype,
    std::span<float> out);

}  // namespace mflux::kernels
