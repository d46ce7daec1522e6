// SPDX-License-Identifier: MIT
// Qwen2.5-VL's language model up to its final norm. (Qwen2.5-VL Technical Report, 2502.13923.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

class TextEncoder {
 public:
  TextEncoder(const nn::Weights& weights, const TextConfig& config);

  int vocabulary() const { return embedding_.rows(); }  // above every id

  // ids: int32 [batch, tokens] -> float32 [batch, tokens, width].
  mx::array embed(const mx::array& ids) const;

  // Embeddings -> hidden states, both float32 [batch, tokens, width]; evaluated. No token sees what
  // comes after it, so what fills up shorter rows at their end changes nothing before it.
  // positions: int32 [3, tokens], a token's time, row and column; none: 0, 1, 2, ... for all three.
  mx::array encode(
      const mx::array& embeddings, const std::optional<mx::array>& positions = {}) const;

 private:
  struct Layer {
    nn::Norm attention_norm = {};
    nn::Linear q = {};
    nn::Linear k = {};
    nn::Linear v = {};
    nn::Linear out = {};
    nn::Norm mlp_norm = {};
    nn::Linear gate = {};
    nn::Linear up = {};
    nn::Linear down = {};
  };
  struct Rope {
    mx::array cos = mx::array(0.0F);  // [tokens, head_width / 2]
    mx::array sin = mx::array(0.0F);
  };

  Rope rope(const mx::array& positions) const;
  mx::array attention(
      const mx::array& x, const Layer& layer, const Rope& rope, const mx::array& mask) const;

  TextConfig config_;
  nn::Embedding embedding_;
  std::vector<Layer> layers_ = {};
  nn::Norm norm_;
};

}  // namespace mflux::pipelines::qwen
