// SPDX-License-Identifier: MIT
// The transformer of Qwen-Image: text and picture in two streams with their own weights, joined in
// each block's attention. (Qwen-Image Technical Report, 2508.02324.)
#pragma once

#include <array>
#include <span>
#include <utility>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

// A picture's tokens: height, width.
using Grid = std::pair<int, int>;

// cos and sin of the angles by which queries and keys are turned: [tokens, head_width / 2].
struct Rope {
  mx::array image_cos = mx::array(0.0F);
  mx::array image_sin = mx::array(0.0F);
  mx::array text_cos = mx::array(0.0F);
  mx::array text_sin = mx::array(0.0F);
};

// Tokens of one picture stand at (frame, row, column), counted from the picture's middle; the first
// picture is frame 0, references follow. Text goes on along the diagonal outside all pictures.
std::vector<std::array<int, 3>> image_positions(std::span<const Grid> pictures);
int first_text_position(std::span<const Grid> pictures);

// Classifier-free guidance that keeps each token as long as the positive prompt's prediction:
// c = negative + guidance * (positive - negative), then c * |positive| / |c|. All
// [batch, tokens, channels].
mx::array guided(const mx::array& positive, const mx::array& negative, float guidance);

struct TransformerOptions {
  bool low_memory = false;  // evaluates after each block
};

class Transformer {
 public:
  explicit Transformer(const nn::Weights& weights, const TransformerOptions& options = {});

  const TransformerConfig& config() const { return config_; }
  Rope rope(std::span<const Grid> pictures, int text_tokens) const;

  // latents: [1, tokens, channels], of the picture first, then of its references; text: [1, text
  // tokens, width]. The velocity of all of them, not evaluated. With zero_cond_t the first
  // `picture_tokens` are modulated by sigma, the references as at sigma 0.
  mx::array predict(
      const mx::array& latents,
      float sigma,
      const mx::array& text,
      const Rope& rope,
      int picture_tokens) const;

 private:
  // One of a block's two streams.
  struct Stream {
    nn::Linear modulation = {};
    nn::Norm q_norm = {};
    nn::Norm k_norm = {};
    nn::Linear q = {};
    nn::Linear k = {};
    nn::Linear v = {};
    nn::Linear out = {};
    nn::Linear mlp_in = {};
    nn::Linear mlp_out = {};
  };
  struct Block {
    Stream image = {};
    Stream text = {};
  };
  struct Heads {
    mx::array q = mx::array(0.0F);
    mx::array k = mx::array(0.0F);
    mx::array v = mx::array(0.0F);
  };

  static Block load_block(const nn::Weights& weights, int index);
  mx::array time_embedding(float sigma) const;  // [1, width], through silu
  Heads heads(
      const mx::array& x, const Stream& stream, const mx::array& cos, const mx::array& sin) const;
  struct Moment;
  void run_block(
      const Block& block,
      mx::array& image,
      mx::array& text,
      const std::vector<Moment>& image_moments,
      const std::vector<Moment>& text_moments,
      const Rope& rope) const;

  TransformerConfig config_;
  TransformerOptions options_;
  nn::Linear image_in_;
  nn::Norm text_norm_;
  nn::Linear text_in_;
  nn::Linear time_1_;
  nn::Linear time_2_;
  std::vector<Block> blocks_ = {};
  nn::Linear norm_out_;
  nn::Linear image_out_;
};

}  // namespace mflux::pipelines::qwen
