// SPDX-License-Identifier: MIT
#pragma once

#include "mflux/nn/layers.h"

namespace mflux::nn::cpu {

// As nn::linear. Weights become what is multiplied a few rows at a time, never all of them; with
// few rows of x that is float32 in any case.
mx::array linear(const mx::array& x, const Linear& layer);

}  // namespace mflux::nn::cpu
