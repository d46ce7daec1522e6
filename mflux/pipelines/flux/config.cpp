// SPDX-License-Identifier: MIT
#include "mflux/pipelines/flux/config.h"

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/flux/facts.h"

namespace mflux::pipelines::flux {
namespace {

using nlohmann::json;

// A component's config.json, which may not be there.
class Config {
 public:
  explicit Config(const nn::Weights& weights) : file_(weights.component() + "/config.json") {
    if (weights.config().empty()) return;
    values_ = parse_json(weights.config(), file_);
    if (!values_.is_object()) fail("{} is not a JSON object", file_);
    // Where CLIP was saved as a part of text and picture.
    const auto text = values_.find("text_config");
    if (text != values_.end() && text->is_object()) values_ = json(std::move(*text));
  }

  const std::string& file() const { return file_; }

  int count(std::string_view key, int without) const {
    const json* value = find(key);
    if (value == nullptr) return without;
    constexpr int kMost = 1'000'000;
    if (!value->is_number_integer() || *value < 1 || *value > kMost) {
      fail("{}: {} is {}, expected a number from 1 to {}", file_, key, excerpt(*value), kMost);
    }
    return value->get<int>();
  }

  float real(std::string_view key, float without) const {
    const json* value = find(key);
    if (value == nullptr) return without;
    if (const auto number = float_number(*value)) return *number;
    fail("{}: {} is {}, expected a number", file_, key, excerpt(*value));
  }

  std::string text(std::string_view key) const {
    const json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) fail("{}: {} is {}, expected a text", file_, key, excerpt(*value));
    return value->get<std::string>();
  }

  std::optional<std::array<int, 3>> three(std::string_view key) const {
    const json* value = find(key);
    if (value == nullptr) return std::nullopt;
    std::array<int, 3> result = {};
    bool valid = value->is_array() && value->size() == result.size();
    for (size_t i = 0; valid && i < result.size(); ++i) {
      valid = (*value)[i].is_number_unsigned() && (*value)[i] < 1'000'000;
      if (valid) result[i] = (*value)[i].get<int>();
    }
    if (!valid) fail("{}: {} is {}, expected three numbers", file_, key, excerpt(*value));
    return result;
  }

 private:
  const json* find(std::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() || found->is_null() ? nullptr : &*found;
  }

  std::string file_;
  json values_ = json::object();
};

Activation activation(const Config& config, std::string_view key, Activation without) {
  struct Named {
    std::string_view name;
    Activation activation;
  };
  constexpr std::array kNamed = {
      Named{"quick_gelu", Activation::quick_gelu},
      Named{"gelu", Activation::gelu},
      Named{"gelu_new", Activation::gelu_tanh},
      Named{"gelu_pytorch_tanh", Activation::gelu_tanh},
      Named{"silu", Activation::silu},
      // T5's, whose "gelu" is the approximation
      Named{"gated-gelu", Activation::gelu_tanh},
      Named{"gated-silu", Activation::silu},
  };
  const std::string name = config.text(key);
  if (name.empty()) return without;
  for (const Named& named : kNamed) {
    if (named.name == name) return named.activation;
  }
  fail("{}: {} is '{}', which is not known", config.file(), key, name);
}

// How many heads of `width` the rows of a layer are.
int heads_of(const nn::Weights& weights, const nn::Linear& layer, int width) {
  if (layer.outputs() % width == 0) return layer.outputs() / width;
  fail(
      "{}: '{}' has {} rows, which is not a multiple of a head's {}",
      weights.component(),
      layer.name,
      layer.outputs(),
      width);
}

// In the published model's proportion, 16 : 56 : 56, where the head has another width.
std::array<int, 3> default_axes(int head_width) {
  const int index = head_width / 8;
  const int side = (head_width - index) / 2;
  return {head_width - 2 * side, side, side};
}

}  // namespace

ClipConfig clip_config(const nn::Weights& weights) {
  const Config config(weights);
  const nn::Linear q = weights.linear("text_model.encoder.layers.0.self_attn.q_proj");
  ClipConfig result;
  constexpr int kHeadWidth = 64;  // of every CLIP
  result.heads = config.count("num_attention_heads", 0);
  if (result.heads == 0) result.heads = heads_of(weights, q, kHeadWidth);
  if (q.outputs() % result.heads != 0) {
    fail(
        "{}: num_attention_heads is {}, which does not divide the {} rows of '{}'",
        config.file(),
        result.heads,
        q.outputs(),
        q.name);
  }
  result.positions = weights.embedding("text_model.embeddings.position_embedding").rows();
  result.activation = activation(config, "hidden_act", result.activation);
  result.eps = config.real("layer_norm_eps", result.eps);
  return result;
}

T5Config t5_config(const nn::Weights& weights) {
  const Config config(weights);
  T5Config result;
  const std::string block = "t5_blocks.0.attention.SelfAttention.";
  result.heads = weights.embedding(block + "relative_attention_bias").width();
  const nn::Linear q = weights.linear(block + "q");
  if (q.outputs() % result.heads != 0) {
    fail(
        "{}: '{}' has {} rows, which the {} heads of relative_attention_bias do not divide",
        weights.component(),
        q.name,
        q.outputs(),
        result.heads);
  }
  result.max_distance = config.count("relative_attention_max_distance", result.max_distance);
  result.activation = activation(config, "feed_forward_proj", result.activation);
  result.eps = config.real("layer_norm_epsilon", result.eps);
  return result;
}

TransformerConfig transformer_config(const nn::Weights& weights) {
  const Config config(weights);
  TransformerConfig result;
  result.head_width = weights.norm("transformer_blocks.0.attn.norm_q").weight.shape(0);
  result.heads =
      heads_of(weights, weights.linear("transformer_blocks.0.attn.to_q"), result.head_width);
  result.rope_axes = config.three("axes_dims_rope").value_or(default_axes(result.head_width));
  const auto [index, row, column] = result.rope_axes;
  if (index + row + column != result.head_width || index % 2 + row % 2 + column % 2 != 0) {
    fail(
        "{}: the rotary embedding takes {}, {} and {} channels, expected even numbers with the sum "
        "{}",
        config.file(),
        index,
        row,
        column,
        result.head_width);
  }
  result.channels = weights.linear("x_embedder").inputs();
  result.guidance = weights.has("time_text_embed.guidance_embedder.linear_1.weight");
  const nn::Linear out = weights.linear("proj_out");
  if (out.outputs() != kFacts.token_values) {
    fail(
        "{}: '{}' has {} rows, expected {}",
        weights.component(),
        out.name,
        out.outputs(),
        kFacts.token_values);
  }
  return result;
}

VaeConfig vae_config(const nn::Weights& weights) {
  const Config config(weights);
  VaeConfig result;
  result.shift = config.real("shift_factor", result.shift);
  result.scale = config.real("scaling_factor", result.scale);
  result.groups = config.count("norm_num_groups", result.groups);
  const int channels = weights.norm("encoder.down_blocks.0.resnets.0.norm1").weight.shape(0);
  if (channels % result.groups != 0) {
    fail(
        "{}: norm_num_groups is {}, which does not divide the {} channels of the first block",
        config.file(),
        result.groups,
        channels);
  }
  constexpr int kMeanAndVariance = kFacts.token_values / 2;  // 16 channels each
  if (const nn::Conv out = weights.conv("encoder.conv_out.conv2d");
      out.weight.shape(0) != kMeanAndVariance) {
    fail(
        "{}: 'encoder.conv_out' gives {} channels, expected {}",
        weights.component(),
        out.weight.shape(0),
        kMeanAndVariance);
  }
  return result;
}

mx::array activate(Activation activation, const mx::array& x) {
  switch (activation) {
    case Activation::quick_gelu:
      return nn::quick_gelu(x);
    case Activation::gelu:
      return nn::gelu(x);
    case Activation::gelu_tanh:
      return nn::gelu_tanh(x);
    case Activation::silu:
      return nn::silu(x);
  }
  return x;
}

}  // namespace mflux::pipelines::flux
