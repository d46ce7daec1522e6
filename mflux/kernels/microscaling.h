// SPDX-License-Identifier: MIT
// The floating-point formats of kernels/quantize.h (mxfp4, mxfp8, nvfp4). Arguments and meaning as
// there.
#pragma once

#include "mflux/kernels/quantize.h"

namespace mflux::kernels {

// calculation: the dtype in which MLX would hold the weight; its CPU backend rounds intermediate
// results to it.
void quantize_microscaling(
    const QuantFormat& format, std::span<const float> w, Dtype calculation, PackedRows out);

void dequantize_microscaling(const QuantFormat& format, ConstPackedRows in, std::span<float> out);

}  // namespace mflux::kernels
