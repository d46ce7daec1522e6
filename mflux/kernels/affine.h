// SPDX-License-Identifier: MIT
// The affine formats of kernels/quantize.h. Arguments and meaning as there.
#pragma once

#include <span>

#include "mflux/base/quantization.h"
#include "mflux/kernels/packed_rows.h"

namespace mflux::kernels {

void quantize_affine(
    const QuantFormat& format,
    std::span<const float> w,
    Dtype scale_dtype,
    Rounding rounding,
    PackedRows out);

void quantize_affine_on_grid(
    const QuantFormat& format, std::span<const float> w, Dtype scale_dtype, PackedRows out);

void dequantize_affine(
    const QuantFormat& format, ConstPackedRows in, Dtype scale_dtype, std::span<float> out);

}  // namespace mflux::kernels
