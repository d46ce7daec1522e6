// SPDX-License-Identifier: MIT
#include <string>

#include <fmt/format.h>

#include "mflux/nn/ops.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/flux/transformer.h"

namespace mflux::pipelines::flux {
namespace {

Embedder embedder(const nn::Weights& weights, const std::string& name) {
  return {weights.linear(name + ".linear_1"), weights.linear(name + ".linear_2")};
}

// Python's mflux has GELU by erf for the picture, by tanh everywhere else.
DoubleBlock double_block(const nn::Weights& weights, const std::string& block) {
  return {
      .image =
          {.modulation = weights.linear(block + "norm1.linear"),
           .attention = load_projections(weights, block, false),
           .out = weights.linear(block + "attn.to_out.0"),
           .feed_forward_1 = weights.linear(block + "ff.linear1"),
           .feed_forward_2 = weights.linear(block + "ff.linear2"),
           .activation = nn::gelu},
      .text =
          {.modulation = weights.linear(block + "norm1_context.linear"),
           .attention = load_projections(weights, block, true),
           .out = weights.linear(block + "attn.to_add_out"),
           .feed_forward_1 = weights.linear(block + "ff_context.linear1"),
           .feed_forward_2 = weights.linear(block + "ff_context.linear2")},
  };
}

SingleBlock single_block(const nn::Weights& weights, const std::string& block) {
  return {
      .modulation = weights.linear(block + "norm.linear"),
      .attention = load_projections(weights, block, false),
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
