// SPDX-License-Identifier: MIT
// The floating-point formats of kernels/quantize.h (mxfp4, mxfp8, nvfp4). Arguments and meaning as
// there.
#pragma once

#include <span>

#include "mflux/base/quantization.h"
#include "mflux/kernels/packed_rows.h"

namespace mflux::kernels {

// calculation: the dtype in which MLX would hold the weight; its CPU backend rounds intermediate
// results to it.
void quantize_microscaling(
    const QuantFormat& format, std::span<const float> w, Dtype calculation, PackedRows out);

void quantize_microscaling_on_grid(
    const QuantFormat& format, std::span<const float> w, PackedRows out);

float microscaling_scale(QuantMode mode, std::byte stored);  // what a stored scale stands for
float e2m1_to_float(uint8_t code);                           // of mxfp4 and nvfp4, 0 .. 15

void dequantize_microscaling(const QuantFormat& format, ConstPackedRows in, std::span<float> out);

}  // namespace mflux::kernels
