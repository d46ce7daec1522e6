// SPDX-License-Identifier: MIT
#pragma once

#include "mflux/nn/mlx.h"

namespace mflux::nn::cpu {

// As in nn/ops.h; cos and sin are broadcast to x.
mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin);
mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin);

}  // namespace mflux::nn::cpu
