// SPDX-License-Identifier: MIT
// Qwen-Image's VAE (Wan 2.1's, for video) on a single frame. Its convolutions are causal in time:
// with one frame all but their last slice in time see zeros, so they are convolutions of pictures.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

struct VaeOptions {
  std::optional<int> tile = {};  // pixels, a multiple of 16; none: the picture at once
};

class Vae {
 public:
  explicit Vae(const nn::Weights& weights, const VaeOptions& options = {});

  // float32 [1, height, width, 3] in -1..1, multiples of 8 -> the mean of the latents, normalized:
  // float32 [1, height / 8, width / 8, channels]. Not evaluated, unless in tiles.
  mx::array encode(const mx::array& image) const;
  // The reverse. Not clipped.
  mx::array decode(const mx::array& latents) const;

 private:
  struct Residual {
    nn::Norm norm_1 = {};
    nn::Conv conv_1 = {};
    nn::Norm norm_2 = {};
    nn::Conv conv_2 = {};
    std::optional<nn::Conv> shortcut = {};
  };
  struct Attention {
    nn::Norm norm = {};
    nn::Linear qkv = {};
    nn::Linear out = {};
  };
  struct Stage {
    std::vector<Residual> residuals = {};
    std::optional<nn::Conv> resample = {};
  };
  // Encoder or decoder.
  struct Half {
    nn::Conv in = {};
    std::vector<Stage> stages = {};
    std::vector<Residual> middle = {};
    Attention attention = {};
    nn::Norm norm = {};
    nn::Conv out = {};
  };

  static Residual load_residual(const nn::Weights& weights, const std::string& name);
  static Half load_half(
      const nn::Weights& weights,
      std::string_view half,
      std::string_view stage,
      std::string_view resample);
  static mx::array run(const mx::array& x, const Residual& block);
  static mx::array run(const mx::array& x, const Attention& block);
  static mx::array middle(const mx::array& x, const Half& half);
  mx::array encode_tile(const mx::array& image) const;
  mx::array decode_tile(const mx::array& latents) const;

  VaeOptions options_;
  mx::array mean_;
  mx::array std_;
  Half encoder_;
  Half decoder_;
  nn::Conv quant_;
  nn::Conv post_quant_;
};

}  // namespace mflux::pipelines::qwen
