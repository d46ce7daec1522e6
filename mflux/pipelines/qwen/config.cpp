// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/json.h"

namespace mflux::pipelines::qwen {
namespace {

using nlohmann::json;

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

json parse(std::string_view text, std::string_view file) {
  if (text.empty()) return json::object();
  json value = parse_json(text, file);
  if (!value.is_object()) fail("{} is not a JSON object", file);
  return value;
}

json config_of(const nn::Weights& weights) {
  return parse(weights.config(), weights.component() + "/config.json");
}

// Qwen2.5-VL's language model has its values in text_config, or, written by older versions of
// transformers, at the top.
json section(const json& config, std::string_view name) {
  const auto found = config.find(name);
  return found != config.end() && found->is_object() ? *found : json();
}

// A value that is there; null says as little as none.
const json* find(const json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

[[noreturn]] void refuse(std::string_view key, const json& value, std::string_view expected) {
  fail("{} is {}, expected {}", key, excerpt(value), expected);
}

// A positive whole number, or what is there without one.
int number(const json& object, std::string_view key, int without) {
  const json* value = find(object, key);
  if (value == nullptr) return without;
  constexpr int kMost = 1'000'000'000;
  if (!value->is_number_unsigned() || *value == 0 || *value > kMost) {
    refuse(key, *value, fmt::format("a number from 1 to {}", kMost));
  }
  return value->get<int>();
}

double real(const json& object, std::string_view key, double without) {
  const json* value = find(object, key);
  if (value == nullptr) return without;
  if (!value->is_number()) refuse(key, *value, "a number");
  return value->get<double>();
}

bool flag(const json& object, std::string_view key) {
  const json* value = find(object, key);
  if (value != nullptr && !value->is_boolean()) refuse(key, *value, "true or false");
  return value != nullptr && value->get<bool>();
}

float real_float(const json& object, std::string_view key, float without) {
  const json* value = find(object, key);
  if (value == nullptr) return without;
  if (const auto number = float_number(*value)) return *number;
  refuse(key, *value, "a number");
}

// All of a list; none if there is none.
template <typename Number>
std::vector<Number> numbers(const json& object, std::string_view key) {
  constexpr float kMostInt = 1e9F;
  std::vector<Number> values;
  const json* list = find(object, key);
  if (list == nullptr) return values;
  if (!list->is_array()) refuse(key, *list, "a list of numbers");
  for (const json& value : *list) {
    const auto number = float_number(value);
    if (!number || (std::is_integral_v<Number> && std::abs(*number) > kMostInt)) {
      refuse(key, *list, "a list of numbers");
    }
    values.push_back(value.get<Number>());
  }
  return values;
}

// What `read` returns; an Error of its names the file too.
template <typename Read>
auto in_file(const std::string& file, Read read) {
  try {
    return read();
  } catch (const Error& error) {
    fail("{}: {}", file, error.what());
  }
}

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

// In the published models' proportion, where the head has another width.
std::array<int, 3> scaled(std::array<int, 3> published, int from, int width) {
  for (int& part : published) part = part * width / from;
  return published;
}

std::array<int, 3> axes(
    const nn::Weights& weights,
    std::string_view key,
    const std::vector<int>& stated,
    const std::array<int, 3>& without,
    int sum) {
  std::array<int, 3> result = without;
  if (stated.size() == 3) std::ranges::copy(stated, result.begin());
  const bool valid = std::ranges::all_of(result, [](int part) { return part >= 0; });
  if (!valid || result[0] + result[1] + result[2] != sum) {
    fail(
        "{}/config.json: {} is {}, {}, {}, expected a sum of {}",
        weights.component(),
        key,
        result[0],
        result[1],
        result[2],
        sum);
  }
  return result;
}

// What the file leaves out has the scheduler's own default, not the published model's.
void read_scheduler(const json& config, Defaults& result) {
  const auto value = [&](std::string_view key, float without) {
    return real_float(config, key, without);
  };
  result.base_tokens = value("base_image_seq_len", 256);
  result.base_shift = value("base_shift", 0.5F);
  result.max_tokens = value("max_image_seq_len", 4096);
  result.max_shift = value("max_shift", 1.15F);
  result.terminal.reset();
  if (const float terminal = value("shift_terminal", 0); terminal > 0) result.terminal = terminal;
  if (!flag(config, "use_dynamic_shifting")) {
    // A constant shift is the exponential one at its logarithm.
    const float shift = value("shift", 1);
    if (!(shift > 0)) refuse("shift", config.at("shift"), "a number above 0");
    result.base_shift = result.max_shift = std::log(shift);
    result.shifts_schedule = result.base_shift != 0;
  }
}

std::optional<std::string> text_of(const std::filesystem::path& file) {
  if (!std::filesystem::is_regular_file(file)) return std::nullopt;
  return read_text(file);
}

}  // namespace

TextConfig text_config(const Checkpoint& model, const nn::Weights& weights) {
  const json config = config_of(weights);
  json text = section(config, "text_config");
  if (text.is_null()) text = config;
  const nn::Linear q = weights.linear("encoder.layers.0.self_attn.q_proj");
  const nn::Linear k = weights.linear("encoder.layers.0.self_attn.k_proj");

  TextConfig result;
  const int hidden = q.inputs();
  if (const int heads = number(text, "num_attention_heads", 0); heads > 0) {
    result.head_width = number(text, "head_dim", hidden / heads);
  } else if (const auto half = stored_size(model, "encoder.rotary_emb.inv_freq")) {
    result.head_width = 2 * *half;
  }
  expect(weights, "the head's width", "self_attn.q_proj", q.outputs(), result.head_width);
  expect(weights, "the head's width", "self_attn.k_proj", k.outputs(), result.head_width);
  result.heads = q.outputs() / result.head_width;
  result.key_heads = k.outputs() / result.head_width;
  expect(weights, "key heads", "self_attn.q_proj", result.heads, result.key_heads);

  const json rope = section(text, "rope_parameters");
  const json old_rope = section(text, "rope_scaling");
  std::vector<int> sections = numbers<int>(rope, "mrope_section");
  if (sections.empty()) sections = numbers<int>(old_rope, "mrope_section");
  const int half = result.head_width / 2;
  std::array<int, 3> without = scaled(result.rope_sections, 64, half);
  without[0] += half - without[0] - without[1] - without[2];
  result.rope_sections = axes(weights, "mrope_section", sections, without, half);
  result.rope_base = real(rope, "rope_theta", real(text, "rope_theta", result.rope_base));
  result.eps = real_float(text, "rms_norm_eps", result.eps);
  return result;
}

VisionConfig vision_config(const Checkpoint& model, const nn::Weights& weights) {
  const json vision = section(config_of(weights), "vision_config");
  const mx::Shape patch = weights.conv("encoder.visual.patch_embed.proj").weight.shape();
  const int width = patch[0];
  VisionConfig result;
  result.frames = patch[1];
  result.patch = patch[2];
  if (const int heads = number(vision, "num_heads", 0); heads > 0) {
    result.head_width = width / heads;
  } else if (const auto quarter = stored_size(model, "encoder.visual.rotary_pos_emb.inv_freq")) {
    result.head_width = 4 * *quarter;
  }
  expect(weights, "the head's width", "visual.patch_embed.proj", width, result.head_width);
  expect(weights, "a head's four parts", "visual.patch_embed.proj", result.head_width, 4);
  result.heads = width / result.head_width;
  const int merged = weights.linear("encoder.visual.merger.mlp_0").inputs();
  expect(weights, "the patches' width", "visual.merger.mlp_0", merged, width);
  result.merge = static_cast<int>(std::lround(std::sqrt(merged / width)));
  result.window = number(vision, "window_size", result.window);
  if (vision.is_object() && vision.contains("fullatt_block_indexes")) {
    result.full_blocks = numbers<int>(vision, "fullatt_block_indexes");
  }
  if (result.window / result.patch / result.merge < 1) {
    fail(
        "{}/config.json: window_size {} is less than {} patches of {} pixels",
        weights.component(),
        result.window,
        result.merge,
        result.patch);
  }
  return result;
}

TransformerConfig transformer_config(const nn::Weights& weights) {
  const json config = config_of(weights);
  TransformerConfig result;
  // The norm of a head's queries has a weight for each of its channels.
  const int head_width = weights.tensor("transformer_blocks.0.attn.norm_q.weight").shape(0);
  const int width = weights.linear("transformer_blocks.0.attn.to_q").outputs();
  expect(weights, "the head's width", "attn.to_q", width, head_width);
  result.head_width = head_width;
  result.heads = width / head_width;
  std::array<int, 3> without = scaled(result.rope_axes, 128, head_width);
  result.rope_axes =
      axes(weights, "axes_dims_rope", numbers<int>(config, "axes_dims_rope"), without, head_width);
  const bool even = std::ranges::all_of(result.rope_axes, [](int part) { return part % 2 == 0; });
  if (!even) fail("{}/config.json: axes_dims_rope has an odd part", weights.component());
  result.zero_cond_t = flag(config, "zero_cond_t");
  return result;
}

VaeConfig vae_config(const nn::Weights& weights) {
  const json config = config_of(weights);
  const auto channels = static_cast<size_t>(weights.conv("post_quant_conv.conv3d").weight.shape(0));
  VaeConfig result{
      .mean = numbers<float>(config, "latents_mean"), .std = numbers<float>(config, "latents_std")};
  if (result.mean.empty()) result.mean.assign(kLatentMean.begin(), kLatentMean.end());
  if (result.std.empty()) result.std.assign(kLatentStd.begin(), kLatentStd.end());
  const auto check = [&](std::string_view key, const std::vector<float>& values) {
    if (values.size() == channels) return;
    fail(
        "{}/config.json: {} has {} values, expected one for each of {} channels",
        weights.component(),
        key,
        values.size(),
        channels);
  };
  check("latents_mean", result.mean);
  check("latents_std", result.std);
  return result;
}

PixelLimits pixel_limits(const Checkpoint& model) {
  const std::filesystem::path file = model.path / "processor" / "preprocessor_config.json";
  PixelLimits result;
  const std::optional<std::string> text = text_of(file);
  if (!text) return result;
  const json config = parse(*text, file.string());
  // Newer files say it in `size`.
  const json size = section(config, "size");
  in_file(file.string(), [&] {
    result.least = number(config, "min_pixels", number(size, "shortest_edge", result.least));
    result.most = number(config, "max_pixels", number(size, "longest_edge", result.most));
  });
  if (result.least > result.most) {
    fail("{}: at least {} pixels, but at most {}", file.string(), result.least, result.most);
  }
  return result;
}

Defaults schedule_defaults(const Checkpoint& model) {
  Defaults result{
      .steps = 20,
      .guidance = 3.5F,
      .uses_negative_prompt = true,
      .max_tokens = 8192,
      .max_shift = 0.9F,
      .terminal = 0.02F};
  const std::filesystem::path file = model.path / "scheduler" / "scheduler_config.json";
  const std::optional<std::string> text = text_of(file);
  if (!text) return result;
  const json config = parse(*text, file.string());
  in_file(file.string(), [&] { read_scheduler(config, result); });
  return result;
}

bool names_pictures(const Checkpoint& model) {
  const std::filesystem::path file = model.path / "model_index.json";
  const std::optional<std::string> text = text_of(file);
  if (!text) return true;
  const json index = parse(*text, file.string());
  const auto found = index.find("_class_name");
  return found == index.end() || *found != "QwenImageEditPipeline";
}

}  // namespace mflux::pipelines::qwen
