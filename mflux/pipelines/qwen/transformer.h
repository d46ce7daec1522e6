// SPDX-License-Identifier: MIT
// The transformer of Qwen-Image: double blocks alone. (Qwen-Image Technical Report, 2508.02324.)
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/double_block.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/rotation.h"

namespace mflux::pipelines::qwen {

struct Transformer {
  TransformerConfig config = {};
  nn::Linear image_in = {};
  mx::array text_norm = mx::array(0.0F);
  nn::Linear text_in = {};
  nn::Linear time_1 = {};
  nn::Linear time_2 = {};
  std::vector<DoubleBlock> blocks = {};
  nn::Linear modulation_out = {};
  nn::Linear out = {};
};

Transformer load_transformer(const nn::Weights& weights);

// A picture's tokens: height, width.
using Grid = std::pair<int, int>;

// Tokens of one picture stand at (frame, row, column), counted from the picture's middle; the first
// picture is frame 0, references follow. Text goes on along the diagonal outside all pictures.
std::vector<Position> image_positions(std::span<const Grid> pictures);
int first_text_position(std::span<const Grid> pictures);

// Of the text's tokens, then the pictures'.
Rotation rotation(std::span<const Grid> pictures, int text_tokens, const TransformerConfig& config);

struct TransformerInput {
  mx::array tokens;        // [1, tokens, channels], of the picture first, then of its references
  int picture_tokens = 0;  // without the references'
  mx::array text;          // [1, text tokens, width]
  float sigma = 0;
  Rotation rotation = {};
};

// The velocity of every one of `tokens`: float32. Not evaluated, but with `block_by_block` only the
// last layer is left over. With zero_cond_t references are modulated as at sigma 0.
mx::array velocity(
    const Transformer& transformer, const TransformerInput& input, bool block_by_block = false);

// Classifier-free guidance that keeps each token as long as the positive prompt's prediction:
// c = negative + guidance * (positive - negative), then c * |positive| / |c|. All
// [batch, tokens, channels].
mx::array guided(const mx::array& positive, const mx::array& negative, float guidance);

}  // namespace mflux::pipelines::qwen
