// SPDX-License-Identifier: MIT
// Qwen2.5-VL's vision tower: a picture as tokens of the language model. (Qwen2.5-VL Technical
// Report, 2502.13923, 2.1.1.)
#pragma once

#include <utility>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/gated_mlp.h"

namespace mflux::pipelines::qwen {

struct VisionBlock {
  mx::array norm_1 = mx::array(0.0F);
  nn::Linear qkv = {};
  nn::Linear out = {};
  mx::array norm_2 = mx::array(0.0F);
  GatedMlp mlp = {};
};

struct VisionTower {
  VisionConfig config = {};
  nn::Linear patch = {};
  std::vector<VisionBlock> blocks = {};
  mx::array merger_norm = mx::array(0.0F);
  nn::Linear merger_1 = {};
  nn::Linear merger_2 = {};
};

VisionTower load_vision_tower(const nn::Weights& weights, const VisionConfig& config);

// One picture's patches [patches, channels * frames * patch * patch], block of merge x merge
// patches after block, `grid` in patches (height, width) -> float32 [patches / merge^2, width of
// the language model]; evaluated.
mx::array encode(const VisionTower& tower, const mx::array& patches, std::pair<int, int> grid);

}  // namespace mflux::pipelines::qwen
