// SPDX-License-Identifier: MIT
// FLUX.1's VAE: a picture to latents of an eighth of its size with 16 channels, and back.
#pragma once

#include <optional>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/pipelines/flux/config.h"

namespace mflux::pipelines::flux {

struct Resnet {
  nn::Norm norm1 = {};
  nn::Conv conv1 = {};
  nn::Norm norm2 = {};
  nn::Conv conv2 = {};
  std::optional<nn::Conv> shortcut = {};  // where the number of channels changes
};

struct VaeAttention {
  nn::Norm norm = {};
  nn::Linear q = {};
  nn::Linear k = {};
  nn::Linear v = {};
  nn::Linear out = {};
};

// Resnets of one resolution.
struct VaeStage {
  std::vector<Resnet> resnets = {};
  std::optional<nn::Conv> resample = {};  // to the next resolution
};

// An encoder: conv_in, stages, middle, end. A decoder: conv_in, middle, stages, end.
struct VaeHalf {
  nn::Conv conv_in = {};
  std::vector<VaeStage> stages = {};
  Resnet middle_1 = {};
  VaeAttention attention = {};
  Resnet middle_2 = {};
  nn::Norm norm_out = {};
  nn::Conv conv_out = {};
};

struct Vae {
  VaeConfig config = {};
  VaeHalf encoder = {};
  VaeHalf decoder = {};
  std::optional<nn::Conv> after_encoder = {};  // FLUX.1 has neither
  std::optional<nn::Conv> before_decoder = {};
};

Vae load_vae(const nn::Weights& weights);

// `tile`: side of the tiles in pixels, for pictures that are larger; none: the picture at once.
// Height and width of pictures are multiples of 16. With tiles both evaluate as they go.

// [1, height, width, 3] in -1..1 -> [1, height / 8, width / 8, 16], as the transformer has them:
// the mean of the distribution, shifted and scaled.
mx::array encode(const Vae& vae, const mx::array& image, std::optional<int> tile = {});
// [1, height, width, 16] -> [1, height * 8, width * 8, 3]
mx::array decode(const Vae& vae, const mx::array& latents, std::optional<int> tile = {});

}  // namespace mflux::pipelines::flux
