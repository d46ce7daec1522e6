// SPDX-License-Identifier: MIT
// Qwen2.5-VL's language model up to its final norm. (Qwen2.5-VL Technical Report, 2502.13923.)
#pragma once

#include <optional>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/gated_mlp.h"

namespace mflux::pipelines::qwen {

struct TextLayer {
  mx::array attention_norm = mx::array(0.0F);
  nn::Linear q = {};
  nn::Linear k = {};
  nn::Linear v = {};
  nn::Linear out = {};
  mx::array mlp_norm = mx::array(0.0F);
  GatedMlp mlp = {};
};

struct TextEncoder {
  TextConfig config = {};
  nn::Embedding tokens = {};
  std::vector<TextLayer> layers = {};
  mx::array final_norm = mx::array(0.0F);
};

TextEncoder load_text_encoder(const nn::Weights& weights, const TextConfig& config);

// ids: int32 [batch, tokens] -> float32 [batch, tokens, width].
mx::array embed(const TextEncoder& encoder, const mx::array& ids);

// Embeddings -> hidden states, both float32 [batch, tokens, width]; evaluated. No token sees what
// comes after it, so what fills up shorter rows at their end changes nothing before it.
// positions: int32 [3, tokens], a token's time, row and column; none: 0, 1, 2, ... for all three.
mx::array encode(
    const TextEncoder& encoder,
    const mx::array& embeddings,
    const std::optional<mx::array>& positions = {});

}  // namespace mflux::pipelines::qwen
