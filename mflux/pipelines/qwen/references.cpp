// SPDX-License-Identifier: MIT
// Sizes are those that diffusers and transformers compute, rounding included: a reference that is a
// few pixels larger gives another picture.
#include "mflux/pipelines/qwen/references.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/resample.h"

namespace mflux::pipelines::qwen {
namespace {

// Of CLIP's training pictures, in 0..1.
constexpr std::array kMean = {0.48145466F, 0.4578275F, 0.40821073F};
constexpr std::array kStd = {0.26862954F, 0.26130258F, 0.27577711F};

// Halves go to the even side, as Python rounds.
int to_multiple(double side, int of) {
  return static_cast<int>(std::nearbyint(side / of)) * of;
}

mx::array constants(const std::array<float, 3>& values) {
  return mx::array(values.begin(), {3}, mx::float32);
}

// [height, width, 3] -> [patches, 3 * frames * patch * patch], block of merge x merge after block.
mx::array cut(const mx::array& image, const VisionConfig& config) {
  const int rows = image.shape(0) / config.patch / config.merge;
  const int columns = image.shape(1) / config.patch / config.merge;
  const int merge = config.merge;
  const int patch = config.patch;
  const mx::array parts = mx::transpose(
      mx::reshape(image, {rows, merge, patch, columns, merge, patch, 3}), {0, 3, 1, 4, 6, 2, 5});
  const mx::array frames = mx::repeat(mx::expand_dims(parts, 5), config.frames, 5);
  return mx::reshape(frames, {rows * columns * merge * merge, -1});
}

}  // namespace

PictureSize fit_area(const PictureSize& picture, int area) {
  const double ratio = static_cast<double>(picture.width) / picture.height;
  const double width = std::sqrt(area * ratio);
  const PictureSize size{.height = to_multiple(width / ratio, 32), .width = to_multiple(width, 32)};
  if (size.height == 0 || size.width == 0) {
    fail(
        ErrorKind::usage,
        "a picture of {} x {} pixels is too narrow for Qwen-Image-Edit",
        picture.width,
        picture.height);
  }
  return size;
}

PictureSize fit_patches(
    const PictureSize& picture, const VisionConfig& config, const PixelLimits& limits) {
  const int factor = config.patch * config.merge;
  const auto height = static_cast<double>(picture.height);
  const auto width = static_cast<double>(picture.width);
  PictureSize size{.height = to_multiple(height, factor), .width = to_multiple(width, factor)};
  const double area = static_cast<double>(size.height) * size.width;
  if (area > limits.most) {
    const double shrink = std::sqrt(height * width / limits.most);
    const auto side = [&](double old) {
      return std::max(factor, static_cast<int>(std::floor(old / shrink / factor)) * factor);
    };
    size = {.height = side(height), .width = side(width)};
  } else if (area < limits.least) {
    const double grow = std::sqrt(limits.least / (height * width));
    const auto side = [&](double old) {
      return static_cast<int>(std::ceil(old * grow / factor)) * factor;
    };
    size = {.height = side(height), .width = side(width)};
  }
  return size;
}

VisionInput vision_input(
    const mx::array& image, const VisionConfig& config, const PixelLimits& limits) {
  const PictureSize size =
      fit_patches({.height = image.shape(0), .width = image.shape(1)}, config, limits);
  const mx::array resized = resample(image, size.height, size.width, Filter::bicubic);
  const mx::array unit = mx::multiply(mx::add(resized, mx::array(1.0F)), mx::array(0.5F));
  const mx::array normal = mx::divide(mx::subtract(unit, constants(kMean)), constants(kStd));
  return {
      .patches = cut(normal, config),
      .grid = {size.height / config.patch, size.width / config.patch}};
}

}  // namespace mflux::pipelines::qwen
