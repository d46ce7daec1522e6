// SPDX-License-Identifier: MIT
// CLIP's text encoder, of which FLUX.1 wants one vector for the whole prompt.
#pragma once

#include <span>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/pipelines/flux/config.h"

namespace mflux::pipelines::flux {

struct ClipLayer {
  nn::Norm norm1 = {};
  nn::Linear q = {};
  nn::Linear k = {};
  nn::Linear v = {};
  nn::Linear out = {};
  nn::Norm norm2 = {};
  nn::Linear fc1 = {};
  nn::Linear fc2 = {};
};

struct Clip {
  ClipConfig config = {};
  nn::Embedding tokens = {};
  nn::Embedding positions = {};
  std::vector<ClipLayer> layers = {};
  nn::Norm final_norm = {};
};

Clip load_clip(const nn::Weights& weights);

struct ClipOutput {
  mx::array states = mx::array(0.0F);  // [1, tokens, width], after the final norm
  mx::array pooled = mx::array(0.0F);  // [1, width]: the first token with the highest id, the end
};
// `ids`: at least one, at most `config.positions`, each a row of the vocabulary.
ClipOutput encode(const Clip& clip, std::span<const int32_t> ids);

}  // namespace mflux::pipelines::flux
