// SPDX-License-Identifier: MIT
#pragma once

#include "mflux/nn/layers.h"

namespace mflux::nn::cpu {

// As nn::linear. Weights become float32 a few rows at a time, never all of them.
mx::array linear(const mx::array& x, const Linear& layer);

}  // namespace mflux::nn::cpu
