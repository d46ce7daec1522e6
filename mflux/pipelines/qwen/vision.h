// SPDX-License-Identifier: MIT
// Qwen2.5-VL's vision tower: a picture as tokens of the language model. (Qwen2.5-VL Technical
// Report, 2502.13923, 2.1.1.)
#pragma once

#include <utility>
#include <vector>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

class VisionTower {
 public:
  VisionTower(const nn::Weights& weights, const VisionConfig& config);

  const VisionConfig& config() const { return config_; }

  // One picture's patches [patches, channels * frames * patch * patch], block of merge x merge
  // patches after block, `grid` in patches (height, width) -> float32 [patches / merge^2, width of
  // the language model]; evaluated.
  mx::array encode(const mx::array& patches, std::pair<int, int> grid) const;

 private:
  struct Block {
    nn::Norm norm_1 = {};
    nn::Linear qkv = {};
    nn::Linear out = {};
    nn::Norm norm_2 = {};
    nn::Linear gate = {};
    nn::Linear up = {};
    nn::Linear down = {};
  };
  // Which patches see each other: all of a window. Windows at the edge are filled up with patches
  // that nobody sees.
  struct Windows {
    int count = 0;
    int size = 0;
    mx::array members = mx::array(0);  // [count * size], a patch
    mx::array mask = mx::array(0.0F);  // [count, 1, 1, size], additive
    mx::array places = mx::array(0);   // [patches], where among the members a patch is
  };
  struct Rope {
    mx::array cos = mx::array(0.0F);  // [patches, head_width / 2]
    mx::array sin = mx::array(0.0F);
  };

  Windows windows(std::pair<int, int> grid) const;
  Rope rope(std::pair<int, int> grid) const;
  mx::array attention(
      const mx::array& x, const Block& block, const Rope& rope, const Windows* windows) const;

  VisionConfig config_;
  nn::Linear patch_;
  std::vector<Block> blocks_ = {};
  nn::Norm merger_norm_;
  nn::Linear merger_1_;
  nn::Linear merger_2_;
};

}  // namespace mflux::pipelines::qwen
