// SPDX-License-Identifier: MIT
// What FLUX.1's networks need to know besides their weights: from config.json where there is one,
// else (folders saved by Python's mflux have none) from the shapes of the weights and the published
// models' constants. All throw Error, naming component and tensor or file, if what config.json says
// does not fit the weights.
#pragma once

#include <array>
#include <cstdint>

#include "mflux/nn/weights.h"

namespace mflux::pipelines::flux {

enum class Activation : uint8_t { quick_gelu, gelu, gelu_tanh, silu };

struct ClipConfig {
  int heads = 12;
  int positions = 77;  // the longest text
  Activation activation = Activation::quick_gelu;
  float eps = 1e-5F;
};

struct T5Config {
  int heads = 64;
  int max_distance = 128;  // tokens; farther ones share a bucket of the relative bias
  Activation activation = Activation::gelu_tanh;
  float eps = 1e-6F;
};

struct TransformerConfig {
  int heads = 24;
  int head_width = 128;
  std::array<int, 3> rope_axes = {16, 56, 56};  // channels of a head for index, row, column
  int channels = 64;                            // of a token that goes in
  bool guidance = true;                         // dev; schnell has no guidance embedder
};

// The transformer sees (latent - shift) * scale.
struct VaeConfig {
  float shift = 0.1159F;
  float scale = 0.3611F;
  int groups = 32;  // of every group norm
};

ClipConfig clip_config(const nn::Weights& weights);
T5Config t5_config(const nn::Weights& weights);
TransformerConfig transformer_config(const nn::Weights& weights);
VaeConfig vae_config(const nn::Weights& weights);

mx::array activate(Activation activation, const mx::array& x);

}  // namespace mflux::pipelines::flux
