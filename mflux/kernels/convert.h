// SPDX-License-Identifier: MIT
// Between stored floats and float32. Reading is exact; writing rounds once, to nearest even.
#pragma once

#include <cstddef>
#include <span>

#include "mflux/base/tensor.h"

namespace mflux::kernels {

// in: elements of dtype `from` (F64, F32, F16, BF16, F8_E4M3, F8_E5M2), any alignment; out: as many
// floats. F64 is rounded to float32; the others are exact.
void to_float32(Dtype from, std::span<const std::byte> in, std::span<float> out);

// `to` is F32, F16 or BF16. Values beyond the range become infinite, NaN stays NaN.
void from_float32(std::span<const float> in, Dtype to, std::span<std::byte> out);

bool all_finite(std::span<const float> values);

// in: one row of channels x positions floats (channel outermost); out: positions x channels. And
// back by swapping the two numbers. This is how convolution weights change layout: [O, I, H, W] is
// O rows of I x (H*W).
void transpose(
    std::span<const float> in, uint64_t channels, uint64_t positions, std::span<float> out);

}  // namespace mflux::kernels
