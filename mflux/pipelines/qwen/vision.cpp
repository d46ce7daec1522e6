// SPDX-License-Identifier: MIT
// Most blocks attend within windows only. Patches stay in the order they came in; for the attention
// of such a block they are gathered window by window, all windows of one size, and brought back.
#include "mflux/pipelines/qwen/vision.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/rotation.h"

namespace mflux::pipelines::qwen {
namespace {

constexpr float kVisionEps = 1e-6F;
constexpr double kVisionRopeBase = 10'000;

// The convolution's windows do not overlap: it is a product with the patch as one vector, whose
// order is channel, frame, row, column.
nn::Linear patch_product(const nn::Weights& weights) {
  const char* name = "encoder.visual.patch_embed.proj";
  const mx::array weight = weights.conv(name).weight;
  return {
      .name = full_name(weights.component(), name),
      .weight = mx::reshape(mx::transpose(weight, {0, 4, 1, 2, 3}), {weight.shape(0), -1})};
}

mx::array indices(const std::vector<int>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::int32);
}

// Which patches see each other: all of a window. Windows at the edge are filled up with patches
// that nobody sees.
struct Windows {
  int count = 0;
  int size = 0;
  mx::array members = mx::array(0);  // [count * size], a patch
  mx::array mask = mx::array(0.0F);  // [count, 1, 1, size], additive
  mx::array places = mx::array(0);   // [patches], where among the members a patch is
};

// Windows are squares of merged patches, counted from the picture's corner.
Windows windows_of(const VisionConfig& config, std::pair<int, int> grid) {
  const int unit = config.merge * config.merge;
  const int side = config.window / config.patch / config.merge;
  const int rows = grid.first / config.merge;
  const int columns = grid.second / config.merge;
  const int across = (columns + side - 1) / side;
  const int down = (rows + side - 1) / side;
  Windows result{.count = across * down, .size = side * side * unit};
  const auto slots = static_cast<size_t>(result.count) * static_cast<size_t>(result.size);
  std::vector<int> members(slots, 0);
  std::vector<float> mask(slots, -std::numeric_limits<float>::infinity());
  std::vector<int> places;
  std::vector<int> used(static_cast<size_t>(result.count), 0);
  for (int patch = 0; patch < rows * columns * unit; ++patch) {
    const int row = patch / unit / columns;
    const int column = patch / unit % columns;
    const int window = row / side * across + column / side;
    const int place = window * result.size + used[static_cast<size_t>(window)]++;
    members[static_cast<size_t>(place)] = patch;
    mask[static_cast<size_t>(place)] = 0;
    places.push_back(place);
  }
  result.members = indices(members);
  result.mask = mx::array(mask.begin(), {result.count, 1, 1, result.size}, mx::float32);
  result.places = indices(places);
  return result;
}

// The first half of the frequencies turns with the row, the second with the column.
Rotation vision_rotation(const VisionConfig& config, std::pair<int, int> grid) {
  const int quarter = config.head_width / 4;
  std::vector<float> frequencies;
  for (int i = 0; i < quarter; ++i) {
    const double exponent = static_cast<double>(i) / quarter;
    frequencies.push_back(static_cast<float>(std::pow(kVisionRopeBase, -exponent)));
  }
  const int merge = config.merge;
  const int columns = grid.second / merge;
  std::vector<float> angles;
  for (int patch = 0; patch < grid.first * grid.second; ++patch) {
    const int block = patch / (merge * merge);
    const int within = patch % (merge * merge);
    const std::array position = {
        block / columns * merge + within / merge, block % columns * merge + within % merge};
    for (const int axis : position) {
      for (const float frequency : frequencies) {
        angles.push_back(static_cast<float>(axis) * frequency);
      }
    }
  }
  const mx::array all(angles.begin(), {grid.first * grid.second, 2 * quarter}, mx::float32);
  return {.cos = mx::cos(all), .sin = mx::sin(all)};
}

// `windows`: null where all patches see each other.
mx::array attention(
    const VisionBlock& block,
    const VisionConfig& config,
    const mx::array& x,
    const Rotation& rotation,
    const Windows* windows) {
  const int count = x.shape(0);
  const int heads = config.heads;
  const int width = config.head_width;
  const mx::array qkv =
      mx::transpose(mx::reshape(nn::linear(x, block.qkv), {count, 3, heads, width}), {1, 2, 0, 3});
  const std::vector<mx::array> parts = mx::split(qkv, 3, 0);  // each [1, heads, patches, width]
  const mx::array q = nn::rotate_halves(parts[0], rotation.cos, rotation.sin);
  const mx::array k = nn::rotate_halves(parts[1], rotation.cos, rotation.sin);
  const float scale = 1.0F / std::sqrt(static_cast<float>(width));
  const auto joined = [&](const mx::array& y) {
    return nn::linear(mx::reshape(mx::transpose(y, {1, 0, 2}), {count, heads * width}), block.out);
  };
  if (windows == nullptr) {
    return joined(mx::squeeze(nn::attention(q, k, parts[2], scale), 0));
  }
  const auto cut = [&](const mx::array& y) {
    const mx::array members = mx::take(mx::squeeze(y, 0), windows->members, 1);
    return mx::transpose(
        mx::reshape(members, {heads, windows->count, windows->size, width}), {1, 0, 2, 3});
  };
  const mx::array y = nn::attention(cut(q), cut(k), cut(parts[2]), scale, windows->mask);
  const mx::array flat =
      mx::reshape(mx::transpose(y, {1, 0, 2, 3}), {heads, windows->count * windows->size, width});
  return joined(mx::take(flat, windows->places, 1));
}

mx::array run(
    const VisionBlock& block,
    const VisionConfig& config,
    const mx::array& x,
    const Rotation& rotation,
    const Windows* windows) {
  const mx::array normed = nn::rms_norm(x, block.norm_1, kVisionEps);
  const mx::array y = mx::add(x, attention(block, config, normed, rotation, windows));
  return mx::add(y, run(block.mlp, nn::rms_norm(y, block.norm_2, kVisionEps)));
}

}  // namespace

VisionTower load_vision_tower(const nn::Weights& weights, const VisionConfig& config) {
  VisionTower tower{
      .config = config,
      .patch = patch_product(weights),
      .merger_norm = weights.tensor("encoder.visual.merger.ln_q.weight"),
      .merger_1 = weights.linear("encoder.visual.merger.mlp_0"),
      .merger_2 = weights.linear("encoder.visual.merger.mlp_1"),
  };
  const int count = weights.blocks("encoder.visual.blocks.");
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("encoder.visual.blocks.{}.", i);
    tower.blocks.push_back({
        .norm_1 = weights.tensor(block + "norm1.weight"),
        .qkv = weights.linear(block + "attn.qkv"),
        .out = weights.linear(block + "attn.proj"),
        .norm_2 = weights.tensor(block + "norm2.weight"),
        .mlp = load_gated_mlp(weights, block),
    });
  }
  return tower;
}

mx::array encode(const VisionTower& tower, const mx::array& patches, std::pair<int, int> grid) {
  const VisionConfig& config = tower.config;
  const int count = grid.first * grid.second;
  if (grid.first % config.merge != 0 || grid.second % config.merge != 0 ||
      patches.shape(0) != count) {
    fail(
        "text_encoder: the vision tower got {} patches for a grid of {} x {}",
        patches.shape(0),
        grid.first,
        grid.second);
  }
  const Rotation rotation = vision_rotation(config, grid);
  const Windows windows = windows_of(config, grid);
  mx::array x = nn::linear(patches, tower.patch);
  for (size_t i = 0; i < tower.blocks.size(); ++i) {
    const bool full =
        std::ranges::find(config.full_blocks, static_cast<int>(i)) != config.full_blocks.end();
    x = run(tower.blocks[i], config, x, rotation, full ? nullptr : &windows);
    mx::eval(x);
  }
  x = nn::rms_norm(x, tower.merger_norm, kVisionEps);
  const mx::array merged =
      mx::reshape(x, {count / (config.merge * config.merge), tower.merger_1.inputs()});
  x = nn::linear(nn::gelu(nn::linear(merged, tower.merger_1)), tower.merger_2);
  mx::eval(x);
  return x;
}

}  // namespace mflux::pipelines::qwen
