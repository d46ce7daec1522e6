// SPDX-License-Identifier: MIT
// Pictures that Qwen-Image-Edit looks at: how large its networks see them.
#pragma once

#include <utility>

#include "mflux/nn/mlx.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::pipelines::qwen {

struct PictureSize {
  int height = 0;  // pixels
  int width = 0;

  bool operator==(const PictureSize&) const = default;
};

constexpr int kVaeArea = 1024 * 1024;
constexpr int kNamedVisionArea = 384 * 384;  // where prompts name their pictures
constexpr int kVisionArea = 1024 * 1024;

// About `area` pixels in the picture's proportion, sides multiples of 32, as diffusers'
// QwenImageEditPlusPipeline. Throws Error for a picture so narrow that a side would vanish.
PictureSize fit_area(const PictureSize& picture, int area);

// The nearest size in whole merged patches of the vision tower, within the limits, as transformers'
// Qwen2VLImageProcessor.
PictureSize fit_patches(
    const PictureSize& picture, const VisionConfig& config, const PixelLimits& limits);

struct VisionInput {
  mx::array patches = mx::array(0.0F);  // as VisionTower::encode() takes them
  std::pair<int, int> grid = {};        // patches: height, width
};

// image: float32 [height, width, 3] in -1..1. Resized by Pillow's bicubic filter.
VisionInput vision_input(
    const mx::array& image, const VisionConfig& config, const PixelLimits& limits);

}  // namespace mflux::pipelines::qwen
