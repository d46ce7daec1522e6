// SPDX-License-Identifier: MIT
// Every value of every config.json that says something of the tensors is held to them.
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/models/family.h"
#include "tests/models/headers.h"
#include "tests/testing.h"

namespace mflux::models {
namespace {

using mflux::testing::contains;
using mflux::testing::error_of;
using nlohmann::json;
using testing::family;
using testing::load_component;

// A published component and what its config.json says, as far as the tensors know it.
struct Published {
  const char* headers;
  const char* family;
  const char* component;
  const char* config;
};

const std::vector<Published>& published() {
  static const std::vector<Published> kPublished = {
      {"flux-dev.txt", "flux", "transformer", R"({
        "attention_head_dim": 128, "axes_dims_rope": [16, 56, 56], "guidance_embeds": true,
        "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24,
        "num_layers": 19, "num_single_layers": 38, "out_channels": 64, "patch_size": 1,
        "pooled_projection_dim": 768})"},
      {"flux-schnell.txt", "flux", "transformer", R"({
        "guidance_embeds": false, "num_attention_heads": 24, "num_layers": 19})"},
      {"flux-fill.txt", "flux", "transformer", R"({"in_channels": 384, "out_channels": 64})"},
      {"flux-dev.txt", "flux", "text_encoder", R"({
        "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072,
        "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "num_attention_heads": 12,
        "num_hidden_layers": 12, "vocab_size": 49408})"},
      {"flux-dev.txt", "flux", "text_encoder_2", R"({
        "d_ff": 10240, "d_kv": 64, "d_model": 4096, "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-06, "num_heads": 64, "num_layers": 24,
        "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
        "vocab_size": 32128})"},
      {"flux-dev.txt", "flux", "vae", R"({
        "block_out_channels": [128, 256, 512, 512], "in_channels": 3, "latent_channels": 16,
        "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
        "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_post_quant_conv": false,
        "use_quant_conv": false})"},
      {"qwen-image.txt", "qwen", "transformer", R"({
        "attention_head_dim": 128, "axes_dims_rope": [16, 56, 56], "guidance_embeds": false,
        "in_channels": 64, "joint_attention_dim": 3584, "num_attention_heads": 24,
        "num_layers": 60, "out_channels": 16, "patch_size": 2})"},
      {"qwen-image.txt", "qwen-edit", "text_encoder", R"({
        "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
        "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
        "rope_scaling/mrope_section": [16, 24, 24], "rope_theta": 1000000.0, "vocab_size": 152064,
        "vision_config/depth": 32, "vision_config/fullatt_block_indexes": [7, 15, 23, 31],
        "vision_config/hidden_size": 1280, "vision_config/in_channels": 3,
        "vision_config/in_chans": 3, "vision_config/intermediate_size": 3420,
        "vision_config/num_heads": 16, "vision_config/out_hidden_size": 3584,
        "vision_config/patch_size": 14, "vision_config/spatial_merge_size": 2,
        "vision_config/temporal_patch_size": 2, "vision_config/window_size": 112})"},
      {"qwen-image.txt", "qwen", "vae", R"({
        "base_dim": 96, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_dim": 16,
        "latents_mean": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        "latents_std": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]})"},
  };
  return kPublished;
}

// "a/b" is b within a; with `nested` the language model's values are in text_config.
std::string config_of(const json& values, bool nested) {
  json config = json::object();
  for (const auto& [key, value] : values.items()) {
    const size_t slash = key.find('/');
    const std::string section = slash == key.npos ? "" : key.substr(0, slash);
    json& place = nested && section != "vision_config" ? config["text_config"] : config;
    if (section.empty()) {
      place[key] = value;
    } else {
      place[section][key.substr(slash + 1)] = value;
    }
  }
  return config.dump();
}

std::string refusal(
    SourceComponent source, const Published& model, const json& config, bool nested) {
  source.config = config_of(config, nested);
  return error_of(
      [&] { map_component(family(model.family), source, Naming::diffusers, Naming::mflux); });
}

// What a value may be replaced with, none of which is true.
std::vector<json> wrong_values(const json& value) {
  const std::vector<std::string> texts = {
      R"("64")", "{}", "-1", "1.5", "1180591620717411303424", "[\"a\"]"};
  std::vector<json> wrong;
  for (const std::string& text : texts) wrong.push_back(json::parse(text));
  if (value.is_boolean()) {
    wrong.push_back(!value.get<bool>());
    wrong.push_back(1);
  } else if (value.is_number_integer()) {
    wrong.push_back(0);
    wrong.push_back(value.get<int64_t>() + 5);
    wrong.push_back(true);
    wrong.push_back(std::to_string(value.get<int64_t>()));
    wrong.push_back(value.get<double>() + 0.5);
    wrong.push_back(value.get<double>());
  } else if (value.is_array()) {
    json shorter = value;
    shorter.erase(shorter.size() - 1);
    shorter.push_back("x");
    wrong.push_back(shorter);
  }
  return wrong;
}

bool says_nothing(const std::string& key) {  // of the tensors: any number is well-formed
  for (const char* free :
       {"layer_norm_eps",
        "layer_norm_epsilon",
        "rms_norm_eps",
        "rope_theta",
        "scaling_factor",
        "shift_factor"}) {
    if (key == free) return true;
  }
  return false;
}

TEST_CASE("the published config.json is true of the published tensors") {
  for (const Published& model : published()) {
    CAPTURE(model.headers);
    CAPTURE(model.component);
    const SourceComponent source = load_component(model.headers, model.component);
    for (const bool nested : {false, true}) {
      CHECK(refusal(source, model, json::parse(model.config), nested) == "");
    }
  }
}

TEST_CASE("each value that is false or malformed is refused with file and key") {
  for (const Published& model : published()) {
    const SourceComponent source = load_component(model.headers, model.component);
    const json config = json::parse(model.config);
    for (const auto& [key, value] : config.items()) {
      for (json wrong : wrong_values(value)) {
        const bool any_count =
            key == "relative_attention_max_distance" || key == "vision_config/window_size";
        if (says_nothing(key) && wrong.is_number()) continue;
        if (any_count && wrong.is_number_integer() && wrong > 0) continue;
        CAPTURE(model.component);
        CAPTURE(key);
        CAPTURE(wrong.dump());
        json changed = config;
        changed[key] = wrong;
        const std::string message = refusal(source, model, changed, false);
        const std::string expected = std::string(model.component) + "/config.json: " + key + " is ";
        CHECK_MESSAGE(contains(message, expected), message);
        CHECK_MESSAGE(contains(message, "expected "), message);
      }
    }
  }
}

TEST_CASE("null is no number; what may be null is") {
  for (const Published& model : published()) {
    const SourceComponent source = load_component(model.headers, model.component);
    const json config = json::parse(model.config);
    for (const auto& [key, value] : config.items()) {
      CAPTURE(model.component);
      CAPTURE(key);
      const bool transformer = std::string(model.component) == "transformer";
      const bool may_be_null = key == "shift_factor" || (transformer && key == "out_channels");
      json changed = config;
      changed[key] = nullptr;
      const std::string message = refusal(source, model, changed, false);
      CHECK_MESSAGE((message.empty() == may_be_null), message);
    }
  }
}

TEST_CASE("a key that is not there says nothing") {
  for (const Published& model : published()) {
    const SourceComponent source = load_component(model.headers, model.component);
    const json config = json::parse(model.config);
    for (const auto& [key, value] : config.items()) {
      CAPTURE(key);
      json changed = config;
      changed.erase(key);
      CHECK(refusal(source, model, changed, false) == "");
    }
  }
}

TEST_CASE("several false values are told at once") {
  const Published& dev = published().front();
  json config = json::parse(dev.config);
  config["num_layers"] = 18;
  config["guidance_embeds"] = false;
  const std::string message =
      refusal(load_component(dev.headers, dev.component), dev, config, false);
  CHECK(message.starts_with("transformer/config.json does not fit the tensors:\n  "));
  CHECK(contains(
      message,
      "num_layers is 18, expected 19: the last block of the tensors is 'transformer_blocks.18'"));
  CHECK(contains(
      message,
      "guidance_embeds is false, expected true: "
      "'time_text_embed.guidance_embedder.linear_1' is there"));
}

TEST_CASE("a section that is no object is refused") {
  const Published& text = published()[7];
  SourceComponent source = load_component(text.headers, text.component);
  source.config = R"({"vision_config": [1]})";
  CHECK(contains(
      error_of(
          [&] { map_component(family(text.family), source, Naming::diffusers, Naming::mflux); }),
      "text_encoder/config.json: vision_config is [1], expected an object"));
}

TEST_CASE("a shortcut or a sampler that a VAE needs is missed") {
  const auto without = [](const char* headers, const char* name, const std::string& part) {
    SourceComponent vae = load_component(headers, "vae");
    std::erase_if(vae.tensors, [&](const auto& tensor) { return tensor.name.starts_with(part); });
    return error_of([&] { map_component(family(name), vae, Naming::diffusers, Naming::mflux); });
  };
  const struct {
    const char* headers;
    const char* family;
    const char* part;
  } kCases[] = {
      {"flux-dev.txt", "flux", "encoder.down_blocks.1.resnets.0.conv_shortcut."},
      {"flux-dev.txt", "flux", "decoder.up_blocks.3.resnets.0.conv_shortcut."},
      {"flux-dev.txt", "flux", "encoder.down_blocks.0.downsamplers.0."},
      {"flux-dev.txt", "flux", "decoder.up_blocks.2.upsamplers.0."},
      {"qwen-image.txt", "qwen", "decoder.up_blocks.0.upsamplers.0.resample."},
      {"qwen-image.txt", "qwen", "encoder.down_blocks.3.conv_shortcut."},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.part);
    const std::string message = without(c.headers, c.family, c.part);
    CHECK_MESSAGE(contains(message, std::string("'") + c.part), message);
  }
}

}  // namespace
}  // namespace mflux::models
