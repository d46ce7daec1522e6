// SPDX-License-Identifier: MIT
// What networks do with their layers. On Metal and CUDA these are MLX's own operations; on the CPU,
// where MLX is slow, the ones that matter are ours (nn/cpu/), equal to MLX's up to float32
// rounding, unless products in bfloat16 are asked for.
//
// Activations are float32 unless said otherwise. Shapes are [batch, tokens, channels] or, for
// images, [batch, height, width, channels].
#pragma once

#include <optional>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/nn/mlx.h"

namespace mflux::nn {

// x [..., inputs] -> [..., outputs]
mx::array linear(const mx::array& x, const Linear& layer);

// ids: int32 [...] -> float32 [..., width]
mx::array embed(const mx::array& ids, const Embedding& layer);

// The weight of a layer in float32, unpacked: [outputs, inputs].
mx::array dense_weight(const Linear& layer);

// Does this CPU multiply in bfloat16, by instructions made for it?
bool has_bfloat16_products();

// softmax(scale * q k^T + mask) v. q, k, v: [batch, heads, tokens, head_dim]; k and v may have
// fewer heads, by a whole factor. mask: additive, broadcast to [batch, heads, queries, keys].
mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask = {},
    Products products = Products::float32);

// Over the last axis, without a weight of its own: (x - mean) / sqrt(var + eps) * (1 + scale) +
// shift. scale, shift: [batch, 1, channels].
mx::array modulated_layer_norm(
    const mx::array& x, const mx::array& scale, const mx::array& shift, float eps);
mx::array layer_norm(const mx::array& x, const Norm& norm, float eps);
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps);
// x: [batch, ..., channels]
mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps);

mx::array gelu(const mx::array& x);        // x * Phi(x), by erf
mx::array gelu_tanh(const mx::array& x);   // by its tanh approximation
mx::array quick_gelu(const mx::array& x);  // x * sigmoid(1.702 x)
mx::array silu(const mx::array& x);

// x + gate * y, where gate is broadcast to the shape that x and y have.
mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y);

// One after the other along the last axis; the other axes are the same.
mx::array join_channels(const std::vector<mx::array>& parts);

// Rotates neighbouring pairs (x0, x1), (x2, x3), ... of the last axis: cos and sin are [tokens,
// head_dim / 2] float32, x is [batch, heads, tokens, head_dim].
mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin);
// The same for pairs (x_i, x_{i + head_dim / 2}), as Qwen2.5-VL's encoders pair them. cos and sin
// are [tokens, head_dim / 2].
mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin);

// Sinusoids of a value (a time, times 1000 already): [values, width] float32, cosines first,
// frequencies max_period^(-i / (width / 2)). Attention Is All You Need, 3.5, as DDPM has it.
mx::array timestep_embedding(const mx::array& values, int width, float max_period = 10'000);

// x: [batch, height, width, in]
mx::array conv2d(const mx::array& x, const Conv& conv, const Conv2dOptions& options = {});

// Every value twice in both directions: [batch, height, width, c] -> [batch, 2h, 2w, c].
mx::array upsample_nearest(const mx::array& x);

}  // namespace mflux::nn
