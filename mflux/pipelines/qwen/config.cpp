// SPDX-License-Identifier: MIT
// Widths come from the weights; how they are cut into heads from config.json, or from rotary
// frequencies that Python's mflux stores, or from the published model. Each is held to the weights
// before it is used.
#include "mflux/pipelines/qwen/config.h"

#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "mflux/base/error.h"
#include "mflux/pipelines/config.h"

namespace mflux::pipelines::qwen {
namespace {

// The VAE of every published Qwen-Image model.
constexpr std::array kLatentMean = {
    -0.7571F,
    -0.7089F,
    -0.9113F,
    0.1075F,
    -0.1745F,
    0.9653F,
    -0.1517F,
    1.5508F,
    0.4134F,
    -0.0715F,
    0.5517F,
    -0.3632F,
    -0.1922F,
    -0.9497F,
    0.2503F,
    -0.2921F};
constexpr std::array kLatentStd = {
    2.8184F,
    1.4541F,
    2.3275F,
    2.6558F,
    1.2196F,
    1.7708F,
    2.6052F,
    2.0743F,
    3.2687F,
    2.1526F,
    2.8652F,
    1.5579F,
    1.6382F,
    1.1253F,
    2.8251F,
    1.916F};

// Of a computed tensor that Python's mflux saves and load_weights() leaves out.
std::optional<int> stored_size(const Checkpoint& model, std::string_view tensor) {
  for (const Component& component : model.components) {
    for (const LogicalTensor& stored : component.tensors) {
      if (stored.name == tensor && stored.spec.shape.size() == 1) {
        return static_cast<int>(stored.spec.shape[0]);
      }
    }
  }
  return std::nullopt;
}

void expect(
    const nn::Weights& weights,
    std::string_view what,
    std::string_view tensor,
    int found,
    int width) {
  if (width > 0 && found > 0 && found % width == 0) return;
  fail(
      "{}: '{}' has {} rows, which is not a multiple of {} {}",
      weights.component(),
      tensor,
      found,
      what,
      width);
}

// A token's time, row and column: mrope_section, or, without it, in the published model's
// proportion of 16 : 24 : 24. `half`: of a head's width.
std::array<int, 3> text_sections(const models::Config& config, int half) {
  for (const std::string_view key :
       {"rope_parameters/mrope_section", "rope_scaling/mrope_section"}) {
    const auto stated = three_wholes(config, key);
    if (!stated) continue;
    const auto [time, row, column] = *stated;
    if (time + row + column == half) return *stated;
    fail("{}: {} is {}, {}, {}, expected a sum of {}", config.file(), key, time, row, column, half);
  }
  const int side = half * 24 / 64;
  return {half - 2 * side, side, side};
}

// What the file leaves out has the scheduler's own default, not the published model's.
std::optional<nn::ScheduleShift> read_shift(const models::Config& config) {
  const auto value = [&](std::string_view key, double without) {
    return static_cast<float>(config.real(key).value_or(without));
  };
  nn::ScheduleShift shift{
      .base_tokens = value("base_image_seq_len", 256),
      .base_shift = value("base_shift", 0.5),
      .max_tokens = value("max_image_seq_len", 4096),
      .max_shift = value("max_shift", 1.15)};
  if (const float terminal = value("shift_terminal", 0); terminal > 0) shift.terminal = terminal;
  if (config.flag("use_dynamic_shifting").value_or(false)) return shift;
  // A constant shift is the exponential one at its logarithm.
  const float constant = value("shift", 1);
  if (!(constant > 0)) fail("{}: shift is {}, expected a number above 0", config.file(), constant);
  shift.base_shift = shift.max_shift = std::log(constant);
  return shift.base_shift == 0 ? std::nullopt : std::optional(shift);
}

}  // namespace

TextConfig text_config(const Checkpoint& model, const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  const nn::Linear q = weights.linear("encoder.layers.0.self_attn.q_proj");
  const nn::Linear k = weights.linear("encoder.layers.0.self_attn.k_proj");

  TextConfig result;
  if (const auto heads = config.count("num_attention_heads")) {
    result.head_width = config.count("head_dim").value_or(q.inputs() / *heads);
  } else if (const auto half = stored_size(model, "encoder.rotary_emb.inv_freq")) {
    result.head_width = 2 * *half;
  }
  expect(weights, "the head's width", "self_attn.q_proj", q.outputs(), result.head_width);
  expect(weights, "the head's width", "self_attn.k_proj", k.outputs(), result.head_width);
  result.heads = q.outputs() / result.head_width;
  result.key_heads = k.outputs() / result.head_width;
  expect(weights, "key heads", "self_attn.q_proj", result.heads, result.key_heads);

  result.rope_sections = text_sections(config, result.head_width / 2);
  auto base = config.real("rope_parameters/rope_theta");
  if (!base) base = config.real("rope_theta");
  result.rope_base = base.value_or(result.rope_base);
  result.eps = static_cast<float>(config.real("rms_norm_eps").value_or(double{result.eps}));
  return result;
}

VisionConfig vision_config(const Checkpoint& model, const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  const mx::Shape patch = weights.conv("encoder.visual.patch_embed.proj").weight.shape();
  const int width = patch[0];
  VisionConfig result;
  result.frames = patch[1];
  result.patch = patch[2];
  if (const auto heads = config.count("vision_config/num_heads")) {
    result.head_width = width / *heads;
  } else if (const auto quarter = stored_size(model, "encoder.visual.rotary_pos_emb.inv_freq")) {
    result.head_width = 4 * *quarter;
  }
  expect(weights, "the head's width", "visual.patch_embed.proj", width, result.head_width);
  expect(weights, "a head's four parts", "visual.patch_embed.proj", result.head_width, 4);
  result.heads = width / result.head_width;
  const int merged = weights.linear("encoder.visual.merger.mlp_0").inputs();
  expect(weights, "the patches' width", "visual.merger.mlp_0", merged, width);
  result.merge = static_cast<int>(std::lround(std::sqrt(merged / width)));
  result.window = config.count("vision_config/window_size").value_or(result.window);
  if (const auto blocks = config.wholes("vision_config/fullatt_block_indexes")) {
    result.full_blocks = *blocks;
  }
  if (result.window / result.patch / result.merge < 1) {
    fail(
        "{}: window_size {} is less than {} patches of {} pixels",
        config.file(),
        result.window,
        result.merge,
        result.patch);
  }
  return result;
}

TransformerConfig transformer_config(const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  TransformerConfig result;
  // The norm of a head's queries has a weight for each of its channels.
  result.head_width = weights.tensor("transformer_blocks.0.attn.norm_q.weight").shape(0);
  const int width = weights.linear("transformer_blocks.0.attn.to_q").outputs();
  expect(weights, "the head's width", "attn.to_q", width, result.head_width);
  result.heads = width / result.head_width;
  result.rope_axes = rope_axes(config, result.head_width);
  result.zero_cond_t = config.flag("zero_cond_t").value_or(false);
  return result;
}

VaeConfig vae_config(const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  const auto channels = static_cast<size_t>(weights.conv("post_quant_conv.conv3d").weight.shape(0));
  const auto per_channel = [&](std::string_view key, std::span<const float> published) {
    std::vector<float> values =
        config.reals(key).value_or(std::vector(published.begin(), published.end()));
    if (values.size() == channels) return values;
    fail(
        "{}: {} has {} values, expected one for each of {} channels",
        config.file(),
        key,
        values.size(),
        channels);
  };
  return {
      .mean = per_channel("latents_mean", kLatentMean),
      .std = per_channel("latents_std", kLatentStd)};
}

PixelLimits pixel_limits(const Checkpoint& model) {
  constexpr int kMostPixels = 1'000'000'000;
  const models::Config config =
      models::read_config(model.path / "processor" / "preprocessor_config.json");
  // Newer files say it in `size`.
  const auto pixels = [&](std::string_view key, std::string_view newer, int without) {
    const auto older = config.count(key, kMostPixels);
    return older ? *older : config.count(newer, kMostPixels).value_or(without);
  };
  PixelLimits result;
  result.least = pixels("min_pixels", "size/shortest_edge", result.least);
  result.most = pixels("max_pixels", "size/longest_edge", result.most);
  if (result.least > result.most) {
    fail("{}: at least {} pixels, but at most {}", config.file(), result.least, result.most);
  }
  return result;
}

Defaults schedule_defaults(const Checkpoint& model) {
  Defaults result{
      .steps = 20,
      .guidance = 3.5F,
      .uses_negative_prompt = true,
      .shift = nn::ScheduleShift{.max_tokens = 8192, .max_shift = 0.9F, .terminal = 0.02F}};
  const std::filesystem::path file = model.path / "scheduler" / "scheduler_config.json";
  if (std::filesystem::is_regular_file(file)) result.shift = read_shift(models::read_config(file));
  return result;
}

bool names_pictures(const Checkpoint& model) {
  const models::Config index = models::read_config(model.path / "model_index.json");
  return index.text("_class_name") != "QwenImageEditPipeline";
}

}  // namespace mflux::pipelines::qwen
