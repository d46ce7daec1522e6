// SPDX-License-Identifier: MIT
// FLUX.1's transformer: double blocks, in which text and picture have weights of their own and
// attend together, then single blocks over both as one sequence.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/pipelines/double_block.h"
#include "mflux/pipelines/flux/config.h"
#include "mflux/pipelines/rotation.h"

namespace mflux::pipelines::flux {

struct SingleBlock {
  nn::Linear modulation = {};
  Projections attention = {};
  nn::Linear feed_forward = {};
  nn::Linear out = {};  // of attention and feed-forward together
};

// Two layers with a SiLU between.
struct Embedder {
  nn::Linear first = {};
  nn::Linear second = {};
};

struct Transformer {
  TransformerConfig config = {};
  nn::Linear image_in = {};
  nn::Linear text_in = {};
  Embedder time = {};
  Embedder pooled = {};
  std::optional<Embedder> guidance = {};
  std::vector<DoubleBlock> double_blocks = {};
  std::vector<SingleBlock> single_blocks = {};
  nn::Linear modulation_out = {};
  nn::Linear out = {};
};

Transformer load_transformer(const nn::Weights& weights);

// Where the tokens are: text tokens all at 0, then a grid of picture tokens at (0, row, column),
// then one of the reference's at (1, row, column).
struct Layout {
  int text_tokens = 0;
  std::pair<int, int> image = {};                     // rows, columns
  std::optional<std::pair<int, int>> reference = {};  // Kontext

  bool operator==(const Layout&) const = default;
};

Rotation rotation(const Layout& layout, const TransformerConfig& config);

struct TransformerInput {
  mx::array tokens;     // [1, image (and reference) tokens, config.channels]
  mx::array text;       // [1, text tokens, width]
  mx::array pooled;     // [1, width]
  float timestep = 0;   // 0..1000
  float guidance = 0;   // times 1000; without an embedder for it not looked at
  Rotation rotation{};  // of the text's tokens, then `tokens`
};

// The velocity of every one of `tokens`: float32 [1, tokens, 64]. Not evaluated, but with
// `block_by_block` only the last layer is left over.
mx::array velocity(
    const Transformer& transformer, const TransformerInput& input, bool block_by_block = false);

// As Python's mflux has it: both the time and the guidance reach the embedders in bfloat16.
float rounded_to_bfloat16(float value);

}  // namespace mflux::pipelines::flux
