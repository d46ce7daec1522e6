// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "mflux/models/names.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using lora::Target;
using lora::TargetRows;
using testing::as_source;
using testing::family;
using testing::kFluxNarrow;
using testing::load_component;
using testing::load_headers;
using testing::tiny;

std::map<std::string, Target> targets(const Family& model, const SourceComponent& source) {
  std::map<std::string, Target> result;
  for (const Target& target : lora_targets(model, source, Naming::diffusers)) {
    CHECK(result.emplace(target.alias, target).second);
  }
  return result;
}

TEST_CASE("FLUX layers are addressed by diffusers', mflux's, BFL's and XLabs' names") {
  const auto found =
      targets(family("flux"), tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow));
  const struct {
    const char* alias;
    const char* tensor;
    uint64_t outputs;
    uint64_t inputs;
  } kCases[] = {
      {"x_embedder", "x_embedder.weight", 64, 64},
      {"img_in", "x_embedder.weight", 64, 64},
      {"transformer_blocks.1.attn.to_out.0", "transformer_blocks.1.attn.to_out.0.weight", 64, 64},
      {"transformer_blocks.1.attn.to_out", "transformer_blocks.1.attn.to_out.0.weight", 64, 64},
      {"transformer_blocks.0.ff.linear1", "transformer_blocks.0.ff.net.0.proj.weight", 192, 64},
      {"double_blocks.0.txt_mlp.2", "transformer_blocks.0.ff_context.net.2.weight", 64, 192},
      {"double_blocks.1.processor.proj_lora2",
       "transformer_blocks.1.attn.to_add_out.weight",
       64,
       64},
      {"single_blocks.1.linear2", "single_transformer_blocks.1.proj_out.weight", 64, 256},
      {"single_blocks.1.processor.proj_lora",
       "single_transformer_blocks.1.proj_out.weight",
       64,
       256},
      {"guidance_in.out_layer", "time_text_embed.guidance_embedder.linear_2.weight", 64, 64},
      {"double_blocks.0.img_attn.norm.query_norm",
       "transformer_blocks.0.attn.norm_q.weight",
       16,
       1},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.alias);
    REQUIRE(found.contains(c.alias));
    const Target& target = found.at(c.alias);
    CHECK(target.component == "transformer");
    CHECK(target.rows == std::vector<TargetRows>{{"transformer", c.tensor, 0, c.outputs}});
    CHECK(target.outputs == c.outputs);
    CHECK(target.inputs == c.inputs);
  }
}

TEST_CASE("fused layers are their parts in row order") {
  const auto found =
      targets(family("flux"), tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow));
  const std::string single = "single_transformer_blocks.1.";
  const std::vector<TargetRows> qkv = {
      {"transformer", single + "attn.to_q.weight", 0, 64},
      {"transformer", single + "attn.to_k.weight", 0, 64},
      {"transformer", single + "attn.to_v.weight", 0, 64}};
  std::vector<TargetRows> all = qkv;
  all.push_back({"transformer", single + "proj_mlp.weight", 0, 192});
  CHECK(found.at("single_blocks.1.linear1").rows == all);
  CHECK(found.at("single_blocks.1.linear1").outputs == 384);
  for (const char* alias :
       {"single_blocks.1.linear1_qkv",
        "single_blocks.1.processor.qkv_lora",
        "single_transformer_blocks.1.attn.to_qkv"}) {
    CHECK(found.at(alias).rows == qkv);
    CHECK(found.at(alias).outputs == 192);
  }
  const std::string text = "transformer_blocks.0.attn.add_";
  const std::vector<TargetRows> added = {
      {"transformer", text + "q_proj.weight", 0, 64},
      {"transformer", text + "k_proj.weight", 0, 64},
      {"transformer", text + "v_proj.weight", 0, 64}};
  for (const char* alias :
       {"double_blocks.0.txt_attn.qkv",
        "double_blocks.0.processor.qkv_lora2",
        "transformer_blocks.0.attn.to_added_qkv"}) {
    CHECK(found.at(alias).rows == added);
  }
  CHECK(
      found.at("final_layer.adaLN_modulation.1").rows ==
      std::vector<TargetRows>{
          {"transformer", "norm_out.linear.weight", 64, 64},
          {"transformer", "norm_out.linear.weight", 0, 64}});
}

TEST_CASE("text encoders are addressed by all their spellings") {
  const struct {
    const char* model;
    const char* file;
    const char* component;
    const char* tensor;
    std::vector<std::string> aliases;
  } kCases[] = {
      {"flux",
       "flux-dev.txt",
       "text_encoder",
       "text_model.encoder.layers.3.mlp.fc1.weight",
       {"text_model.encoder.layers.3.mlp.fc1", "encoder.layers.3.mlp.fc1"}},
      {"flux",
       "flux-dev.txt",
       "text_encoder_2",
       "encoder.block.3.layer.1.DenseReluDense.wo.weight",
       {"encoder.block.3.layer.1.DenseReluDense.wo", "t5_blocks.3.ff.DenseReluDense.wo"}},
      {"flux",
       "flux-dev.txt",
       "text_encoder_2",
       "shared.weight",
       {"shared", "encoder.embed_tokens"}},
      {"qwen",
       "qwen-image.txt",
       "text_encoder",
       "model.layers.3.self_attn.q_proj.weight",
       {"model.layers.3.self_attn.q_proj",
        "model.language_model.layers.3.self_attn.q_proj",
        "language_model.layers.3.self_attn.q_proj",
        "layers.3.self_attn.q_proj",
        "encoder.layers.3.self_attn.q_proj"}},
      {"qwen",
       "qwen-image.txt",
       "text_encoder",
       "visual.merger.mlp.2.weight",
       {"visual.merger.mlp.2", "model.visual.merger.mlp.2", "encoder.visual.merger.mlp_1"}},
  };
  for (const auto& c : kCases) {
    const auto found = targets(family(c.model), load_component(c.file, c.component));
    for (const std::string& alias : c.aliases) {
      CAPTURE(alias);
      REQUIRE(found.contains(alias));
      CHECK(found.at(alias).rows.front().tensor == c.tensor);
      CHECK(found.at(alias).component == c.component);
    }
  }
}

TEST_CASE("no two layers of a real model have the same flattened name") {
  for (const char* file : {"flux-dev.txt", "qwen-image.txt"}) {
    const std::string model = std::string(file).starts_with("flux") ? "flux" : "qwen";
    for (const auto& [name, source] : load_headers(file)) {
      CAPTURE(name);
      std::map<std::string, Target> flat;
      for (auto& [alias, target] : targets(family(model), source)) {
        std::string flattened = alias;
        std::ranges::replace(flattened, '.', '_');
        const auto [there, is_new] = flat.emplace(flattened, target);
        if (!is_new) CHECK(there->second.rows == target.rows);
      }
    }
  }
}

TEST_CASE("targets are the same from every naming of the source") {
  const SourceComponent source = tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
  const auto expected = lora_targets(family("flux"), source, Naming::diffusers);
  for (const Naming naming : {Naming::mflux, Naming::original}) {
    const SourceComponent other =
        as_source(source, map_component(family("flux"), source, Naming::diffusers, naming));
    const auto found = lora_targets(family("flux"), other, naming);
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].alias == expected[i].alias);
      CHECK(found[i].rows == expected[i].rows);
      CHECK(found[i].inputs == expected[i].inputs);
    }
  }
}

TEST_CASE("canonical shapes are those of diffusers, whatever the source") {
  const SourceComponent source = load_component("qwen-image.txt", "vae");
  const SourceComponent saved =
      as_source(source, map_component(family("qwen"), source, Naming::diffusers, Naming::mflux));
  const auto shapes = canonical_shapes(family("qwen"), saved, Naming::mflux);
  for (const auto& tensor : source.tensors) {
    if (tensor.name.starts_with("encoder.down_blocks.5.time_conv")) continue;
    CAPTURE(tensor.name);
    REQUIRE(shapes.contains(tensor.name));
    CHECK(shapes.at(tensor.name) == tensor.spec.shape);
  }
}

TEST_CASE("name patterns") {
  const Indices none;
  const Indices one{.at = {12, 0}, .count = 1};
  const Indices two{.at = {3, 0}, .count = 2};
  CHECK(match("norm_out.linear", "norm_out.linear") == none);
  CHECK(match("blocks.{}.to_q", "blocks.12.to_q") == one);
  CHECK(match("up_block{}.resnets.{}", "up_block3.resnets.0") == two);
  for (const char* name :
       {"blocks.012.to_q",
        "blocks..to_q",
        "blocks.x.to_q",
        "blocks.1234567.to_q",
        "blocks.1.to_qq",
        "blocks.1",
        "block.1.to_q"}) {
    CAPTURE(name);
    CHECK_FALSE(match("blocks.{}.to_q", name));
  }
  CHECK(fill("blocks.{}.net.0", one) == "blocks.12.net.0");
  CHECK(matches("vae.*", "vae.x"));
  CHECK_FALSE(matches("vae.*", "vae"));
  CHECK(nearest("blocks.3.to_k", {"blocks.{}.to_q", "norm"}) == "blocks.3.to_q");
  CHECK(nearest("zzz", {"blocks.{}.to_q"}).empty());
}

}  // namespace
}  // namespace mflux::models
