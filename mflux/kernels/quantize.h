// SPDX-License-Identifier: MIT
// MLX's quantizers, bit for bit, on whole rows: a row's codes, scales and biases depend on nothing
// outside the row.
//
//   quantize(format, w, Dtype::bf16, Rounding::stored_scales, {packed, scales, biases});
#pragma once

#include <span>

#include "mflux/base/quantization.h"
#include "mflux/kernels/packed_rows.h"

namespace mflux::kernels {

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
