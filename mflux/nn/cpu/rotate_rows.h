// SPDX-License-Identifier: MIT
// The arithmetic of rotate.h on single rows.
#pragma once

#include <cstddef>

namespace mflux::nn::cpu {

// cos, sin: `pairs` values; x, out: twice as many.
void rotate_pairs(const float* x, const float* cos, const float* sin, size_t pairs, float* out);
void rotate_halves(const float* x, const float* cos, const float* sin, size_t pairs, float* out);

}  // namespace mflux::nn::cpu
