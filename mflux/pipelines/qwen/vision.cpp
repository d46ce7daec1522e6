// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/vision.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"

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
      .name = fmt::format("{}/{}", weights.component(), name),
      .weight = mx::reshape(mx::transpose(weight, {0, 4, 1, 2, 3}), {weight.shape(0), -1})};
}

mx::array indices(const std::vector<int>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::int32);
}

}  // namespace

VisionTower::VisionTower(const nn::Weights& weights, const VisionConfig& config)
    : config_(config),
      patch_(patch_product(weights)),
      merger_norm_(weights.norm("encoder.visual.merger.ln_q")),
      merger_1_(weights.linear("encoder.visual.merger.mlp_0")),
      merger_2_(weights.linear("encoder.visual.merger.mlp_1")) {
  const int count = weights.blocks("encoder.visual.blocks.");
  for (int i = 0; i < count; ++i) {
    const std::string block = fmt::format("encoder.visual.blocks.{}.", i);
    blocks_.push_back({
        .norm_1 = weights.norm(block + "norm1"),
        .qkv = weights.linear(block + "attn.qkv"),
        .out = weights.linear(block + "attn.proj"),
        .norm_2 = weights.norm(block + "norm2"),
        .gate = weights.linear(block + "mlp.gate_proj"),
        .up = weights.linear(block + "mlp.up_proj"),
        .down = weights.linear(block + "mlp.down_proj"),
    });
  }
}

// Windows are squares of merged patches, counted from the picture's corner.
VisionTower::Windows VisionTower::windows(std::pair<int, int> grid) const {
  const int unit = config_.merge * config_.merge;
  const int side = config_.window / config_.patch / config_.merge;
  const int rows = grid.first / config_.merge;
  const int columns = grid.second / config_.merge;
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
VisionTower::Rope VisionTower::rope(std::pair<int, int> grid) const {
  const int quarter = config_.head_width / 4;
  std::vector<float> frequencies;
  for (int i = 0; i < quarter; ++i) {
    const double exponent = static_cast<double>(i) / quarter;
    frequencies.push_back(static_cast<float>(std::pow(kVisionRopeBase, -exponent)));
  }
  const int merge = config_.merge;
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

mx::array VisionTower::attention(
    const mx::array& x, const Block& block, const Rope& rope, const Windows* windows) const {
  const int count = x.shape(0);
  const int heads = config_.heads;
  const int width = config_.head_width;
  const mx::array qkv =
      mx::transpose(mx::reshape(nn::linear(x, block.qkv), {count, 3, heads, width}), {1, 2, 0, 3});
  const std::vector<mx::array> parts = mx::split(qkv, 3, 0);  // each [1, heads, patches, width]
  const mx::array q = nn::rotate_halves(parts[0], rope.cos, rope.sin);
  const mx::array k = nn::rotate_halves(parts[1], rope.cos, rope.sin);
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

mx::array VisionTower::encode(const mx::array& patches, std::pair<int, int> grid) const {
  const int count = grid.first * grid.second;
  if (grid.first % config_.merge != 0 || grid.second % config_.merge != 0 ||
      patches.shape(0) != count) {
    fail(
        "text_encoder: the vision tower got {} patches for a grid of {} x {}",
        patches.shape(0),
        grid.first,
        grid.second);
  }
  const Rope turns = rope(grid);
  const Windows squares = windows(grid);
  mx::array x = nn::linear(patches, patch_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const bool full =
        std::ranges::find(config_.full_blocks, static_cast<int>(i)) != config_.full_blocks.end();
    const mx::array normed = nn::rms_norm(x, block.norm_1.weight, kVisionEps);
    x = mx::add(x, attention(normed, block, turns, full ? nullptr : &squares));
    const mx::array inner = nn::rms_norm(x, block.norm_2.weight, kVisionEps);
    const mx::array gated =
        mx::multiply(nn::silu(nn::linear(inner, block.gate)), nn::linear(inner, block.up));
    x = mx::add(x, nn::linear(gated, block.down));
    mx::eval(x);
  }
  x = nn::rms_norm(x, merger_norm_.weight, kVisionEps);
  const mx::array merged =
      mx::reshape(x, {count / (config_.merge * config_.merge), merger_1_.inputs()});
  x = nn::linear(nn::gelu(nn::linear(merged, merger_1_)), merger_2_);
  mx::eval(x);
  return x;
}

}  // namespace mflux::pipelines::qwen
