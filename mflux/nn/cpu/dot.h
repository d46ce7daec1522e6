// SPDX-License-Identifier: MIT
// Products with so few rows that reading the weights is the work.
#pragma once

#include <cstddef>

#include "mflux/nn/cpu/gemm.h"

namespace mflux::nn::cpu {

// As multiply_transposed, accumulating, for few rows of a: reads b once.
void multiply_few(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride);

}  // namespace mflux::nn::cpu
