// SPDX-License-Identifier: MIT
// The arithmetic of activations.h on neighbouring values.
#pragma once

#include <cstddef>

#include "mflux/nn/cpu/activations.h"

namespace mflux::nn::cpu {

void activate(Activation kind, const float* x, size_t count, float* out);
void gated_add(const float* x, const float* gate, const float* y, size_t count, float* out);

}  // namespace mflux::nn::cpu
