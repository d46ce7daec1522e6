// SPDX-License-Identifier: MIT
// What Qwen-Image's networks need to know besides their weights: from config.json where there is
// one, else (folders saved by Python's mflux have none) from the shapes of the weights and the
// published models' constants. All throw Error, naming the file, if the text is not a JSON object,
// or naming the component if what it says does not fit the weights.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines::qwen {

struct TextConfig {
  int heads = 28;
  int key_heads = 4;
  int head_width = 128;
  // How many of a head's frequencies turn with a token's time, row and column.
  std::array<int, 3> rope_sections = {16, 24, 24};
  double rope_base = 1'000'000;
  float eps = 1e-6F;
};

struct VisionConfig {
  int heads = 16;
  int head_width = 80;
  int patch = 14;                                  // pixels
  int frames = 2;                                  // in a patch; a picture is repeated
  int merge = 2;                                   // merge x merge patches become one token
  int window = 112;                                // pixels
  std::vector<int> full_blocks = {7, 15, 23, 31};  // whose attention is not windowed
};

// How many pixels of a picture the vision tower is shown.
struct PixelLimits {
  int least = 56 * 56;
  int most = 28 * 28 * 16384;
};

struct TransformerConfig {
  int heads = 24;
  int head_width = 128;
  std::array<int, 3> rope_axes = {16, 56, 56};  // channels of a head for frame, row, column
  // Reference pictures are modulated as at time zero (Qwen-Image-Edit-2511).
  bool zero_cond_t = false;
};

// Per latent channel: the transformer sees (latent - mean) / std.
struct VaeConfig {
  std::vector<float> mean = {};
  std::vector<float> std = {};
};

TextConfig text_config(const Checkpoint& model, const nn::Weights& weights);
VisionConfig vision_config(const Checkpoint& model, const nn::Weights& weights);
TransformerConfig transformer_config(const nn::Weights& weights);
VaeConfig vae_config(const nn::Weights& weights);

// From processor/preprocessor_config.json, if there is one.
PixelLimits pixel_limits(const Checkpoint& model);

// From scheduler/scheduler_config.json, if there is one.
Defaults schedule_defaults(const Checkpoint& model);

// Whether prompts name their pictures ("Picture 1: "), as Qwen-Image-Edit-2509 and later were
// trained; model_index.json says it. Without one: yes, the first Edit model is the exception.
bool names_pictures(const Checkpoint& model);

}  // namespace mflux::pipelines::qwen
