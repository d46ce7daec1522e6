// SPDX-License-Identifier: MIT
#include "mflux/pipelines/flux/config.h"

#include <optional>
#include <string>
#include <string_view>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/config.h"
#include "mflux/pipelines/flux/facts.h"

namespace mflux::pipelines::flux {
namespace {

Activation activation(const models::Config& config, std::string_view key, Activation without) {
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
  const std::string name = config.text(key).value_or("");
  if (name.empty()) return without;
  for (const Named& named : kNamed) {
    if (named.name == name) return named.activation;
  }
  fail("{}: {} is '{}', which is not known", config.file(), key, name);
}

float real_or(const models::Config& config, std::string_view key, float without) {
  return static_cast<float>(config.real(key).value_or(double{without}));
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

}  // namespace

ClipConfig clip_config(const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  const nn::Linear q = weights.linear("text_model.encoder.layers.0.self_attn.q_proj");
  ClipConfig result;
  constexpr int kHeadWidth = 64;  // of every CLIP
  const std::optional<int> heads = config.count("num_attention_heads");
  result.heads = heads ? *heads : heads_of(weights, q, kHeadWidth);
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
  result.eps = real_or(config, "layer_norm_eps", result.eps);
  return result;
}

T5Config t5_config(const nn::Weights& weights) {
  const models::Config config = config_of(weights);
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
  result.max_distance =
      config.count("relative_attention_max_distance").value_or(result.max_distance);
  result.activation = activation(config, "feed_forward_proj", result.activation);
  result.eps = real_or(config, "layer_norm_epsilon", result.eps);
  return result;
}

TransformerConfig transformer_config(const nn::Weights& weights) {
  const models::Config config = config_of(weights);
  TransformerConfig result;
  result.head_width = weights.norm("transformer_blocks.0.attn.norm_q").weight.shape(0);
  result.heads =
      heads_of(weights, weights.linear("transformer_blocks.0.attn.to_q"), result.head_width);
  result.rope_axes = rope_axes(config, result.head_width);
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
  const models::Config config = config_of(weights);
  VaeConfig result;
  result.shift = real_or(config, "shift_factor", result.shift);
  result.scale = real_or(config, "scaling_factor", result.scale);
  result.groups = config.count("norm_num_groups").value_or(result.groups);
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
