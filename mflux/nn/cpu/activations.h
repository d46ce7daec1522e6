// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "mflux/nn/mlx.h"

namespace mflux::nn::cpu {

enum class Activation : uint8_t { gelu, gelu_tanh, quick_gelu, silu };

// Of every value, as in nn/ops.h.
mx::array activation(Activation kind, const mx::array& x);

// x + gate * y; x and y have one shape, and gate is broadcast to it.
mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y);

// As in nn/ops.h.
mx::array join_channels(const std::vector<mx::array>& parts);

}  // namespace mflux::nn::cpu
