// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/flux/transformer.h"

namespace mflux::pipelines::flux {
namespace {

struct Names {
  std::string_view q;
  std::string_view k;
  std::string_view v;
  std::string_view norm_q;
  std::string_view norm_k;
};
constexpr Names kOwn = {"to_q", "to_k", "to_v", "norm_q", "norm_k"};
constexpr Names kAdded = {"add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"};

Projections projections(const nn::Weights& weights, const std::string& block, const Names& names) {
  const auto in_attention = [&](std::string_view name) {
    return fmt::format("{}attn.{}", block, name);
  };
  return {
      .q = weights.linear(in_attention(names.q)),
      .k = weights.linear(in_attention(names.k)),
      .v = weights.linear(in_attention(names.v)),
      .norm_q = weights.tensor(in_attention(names.norm_q) + ".weight"),
      .norm_k = weights.tensor(in_attention(names.norm_k) + ".weight"),
  };
}

Embedder embedder(const nn::Weights& weights, const std::string& name) {
  return {weights.linear(name + ".linear_1"), weights.linear(name + ".linear_2")};
}

DoubleBlock double_block(const nn::Weights& weights, const std::string& block) {
  return {
      .image =
          {.modulation = weights.linear(block + "norm1.linear"),
           .attention = projections(weights, block, kOwn),
           .out = weights.linear(block + "attn.to_out.0"),
           .feed_forward_1 = weights.linear(block + "ff.linear1"),
           .feed_forward_2 = weights.linear(block + "ff.linear2")},
      .text =
          {.modulation = weights.linear(block + "norm1_context.linear"),
           .attention = projections(weights, block, kAdded),
           .out = weights.linear(block + "attn.to_add_out"),
           .feed_forward_1 = weights.linear(block + "ff_context.linear1"),
           .feed_forward_2 = weights.linear(block + "ff_context.linear2")},
  };
}

SingleBlock single_block(const nn::Weights& weights, const std::string& block) {
  return {
      .modulation = weights.linear(block + "norm.linear"),
      .attention = projections(weights, block, kOwn),
      .feed_forward = weights.linear(block + "proj_mlp"),
      .out = weights.linear(block + "proj_out"),
  };
}

}  // namespace

Transformer load_transformer(const nn::Weights& weights) {
  Transformer transformer{
      .config = transformer_config(weights),
      .image_in = weights.linear("x_embedder"),
      .text_in = weights.linear("context_embedder"),
      .time = embedder(weights, "time_text_embed.timestep_embedder"),
      .pooled = embedder(weights, "time_text_embed.text_embedder"),
      .modulation_out = weights.linear("norm_out.linear"),
      .out = weights.linear("proj_out"),
  };
  if (transformer.config.guidance) {
    transformer.guidance = embedder(weights, "time_text_embed.guidance_embedder");
  }
  const int doubles = weights.blocks("transformer_blocks.");
  for (int i = 0; i < doubles; ++i) {
    transformer.double_blocks.push_back(
        double_block(weights, fmt::format("transformer_blocks.{}.", i)));
  }
  const int singles = weights.blocks("single_transformer_blocks.");
  for (int i = 0; i < singles; ++i) {
    transformer.single_blocks.push_back(
        single_block(weights, fmt::format("single_transformer_blocks.{}.", i)));
  }
  return transformer;
}

}  // namespace mflux::pipelines::flux
