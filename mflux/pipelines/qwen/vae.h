// SPDX-License-Identifier: MIT
// Qwen-Image's VAE (Wan 2.1's, for video) on a single frame. Its convolutions are causal in time:
// with one frame all but their last slice in time see zeros, so they are convolutions of pictures.
#pragma once

#include <optional>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

struct Residual {
  mx::array norm_1 = mx::array(0.0F);
  nn::Conv conv_1 = {};
  mx::array norm_2 = mx::array(0.0F);
  nn::Conv conv_2 = {};
  std::optional<nn::Conv> shortcut = {};  // where the number of channels changes
};

struct VaeAttention {
  mx::array norm = mx::array(0.0F);
  nn::Linear qkv = {};
  nn::Linear out = {};
};

// Residuals of one resolution.
struct VaeStage {
  std::vector<Residual> residuals = {};
  std::optional<nn::Conv> resample = {};  // to the next resolution
};

// An encoder: in, stages, middle, out. A decoder: in, middle, stages, out. The attention stands
// before the second residual of the middle.
struct VaeHalf {
  nn::Conv in = {};
  std::vector<VaeStage> stages = {};
  std::vector<Residual> middle = {};
  VaeAttention attention = {};
  mx::array norm = mx::array(0.0F);
  nn::Conv out = {};
};

struct Vae {
  VaeConfig config = {};
  VaeHalf encoder = {};
  VaeHalf decoder = {};
  nn::Conv after_encoder = {};
  nn::Conv before_decoder = {};
};

Vae load_vae(const nn::Weights& weights);

// `tile`: side of the tiles in pixels, for pictures that are larger; none: the picture at once.
// With tiles both evaluate as they go.

// float32 [1, height, width, 3] in -1..1, multiples of 8 -> the mean of the latents, normalized:
// float32 [1, height / 8, width / 8, channels].
mx::array encode(const Vae& vae, const mx::array& image, std::optional<int> tile = {});
// The reverse. Not clipped.
mx::array decode(const Vae& vae, const mx::array& latents, std::optional<int> tile = {});

}  // namespace mflux::pipelines::qwen
