// SPDX-License-Identifier: MIT
// What gemm.h does, for factors in bfloat16 and sums in float32, by oneDNN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mflux/nn/cpu/gemm.h"

namespace mflux::nn::cpu {

using Bfloat16 = uint16_t;  // the upper half of a float32
using Bfloat16Matrix = MatrixOf<Bfloat16>;

void round_to_bfloat16(const float* values, size_t count, Bfloat16* out);

// Was this built with oneDNN, and does the CPU have AVX-512? Only then the products are there; of a
// size, they take no factor but 1.
bool computes_bfloat16();
// And AMX_BF16, with which they are worth it?
bool has_bfloat16();
void multiply_transposed(
    const Product& size, Bfloat16Matrix a, Bfloat16Matrix b, float* c, size_t c_stride);
void multiply(const Product& size, Bfloat16Matrix a, Bfloat16Matrix b, float* c, size_t c_stride);

}  // namespace mflux::nn::cpu
