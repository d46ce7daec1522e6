// SPDX-License-Identifier: MIT
// The block that the transformers of FLUX.1 and Qwen-Image share: text and picture are two streams
// with weights of their own, joined in the attention (MM-DiT, Esser et al. 2024, arXiv:2403.03206).
#pragma once

#include <string>
#include <vector>

#include "mflux/nn/ops.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/rotation.h"

namespace mflux::pipelines {

// Of every norm in these transformers.
constexpr float kBlockEps = 1e-6F;

// Queries, keys and values of one sequence.
struct Projections {
  nn::Linear q = {};
  nn::Linear k = {};
  nn::Linear v = {};
  mx::array norm_q = mx::array(0.0F);  // [head_width]
  mx::array norm_k = mx::array(0.0F);
};

// One sequence's half of a block.
struct Stream {
  nn::Linear modulation = {};
  Projections attention = {};
  nn::Linear out = {};
  nn::Linear feed_forward_1 = {};
  nn::Linear feed_forward_2 = {};
  mx::array (*activation)(const mx::array& x) = nn::gelu_tanh;
};

struct DoubleBlock {
  Stream image = {};
  Stream text = {};
};

// [1, tokens, width]
struct Sequences {
  mx::array text;
  mx::array image;
};

// By what tokens are modulated: those from the end of the part before, up to `end`.
struct ConditionedPart {
  int end = 0;
  mx::array condition = mx::array(0.0F);  // [1, width], through SiLU
};

// The attention's layers of a block, "attn.to_q" and so on: the picture's, or, of a sequence beside
// it, those "added" ("attn.add_q_proj").
Projections load_projections(const nn::Weights& weights, const std::string& block, bool added);

// [1, tokens, width] -> the same, before the layer that follows. `rotation`: of all tokens.
mx::array attended(
    const Projections& layers, const mx::array& x, const Rotation& rotation, int heads);

// [1, width] -> `count` times [1, 1, width]
std::vector<mx::array> modulations(const mx::array& condition, const nn::Linear& layer, int count);

// `image`: the parts of the picture's sequence, of which all text has the first one's condition.
// `rotation`: of the text's tokens, then the picture's.
Sequences run(
    const DoubleBlock& block,
    const Sequences& x,
    const std::vector<ConditionedPart>& image,
    const Rotation& rotation,
    int heads);

}  // namespace mflux::pipelines
