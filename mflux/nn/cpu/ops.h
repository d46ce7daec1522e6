// SPDX-License-Identifier: MIT
// The operations of nn/ops.h that MLX does slowly on the CPU. Arguments and results are those of
// nn/ops.h; each makes an array that is computed when MLX evaluates it (operation.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/nn/mlx.h"

namespace mflux::nn::cpu {

// Weights become what is multiplied a few rows at a time, never all of them; with few rows of x
// that is float32 in any case.
mx::array linear(const mx::array& x, const Linear& layer);

// In tiles: the scores of all queries and keys are never there at once.
mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask,
    Products products);

mx::array modulated_layer_norm(
    const mx::array& x, const mx::array& scale, const mx::array& shift, float eps);
mx::array layer_norm(const mx::array& x, const Norm& norm, float eps);
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps);
mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps);

enum class Activation : uint8_t { gelu, gelu_tanh, quick_gelu, silu };
mx::array activation(Activation kind, const mx::array& x);
mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y);
mx::array join_channels(const std::vector<mx::array>& parts);

// cos and sin are broadcast to x.
mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin);
mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin);

mx::array conv2d(const mx::array& x, const Conv& conv, const Conv2dOptions& options);
mx::array upsample_nearest(const mx::array& x);

}  // namespace mflux::nn::cpu
