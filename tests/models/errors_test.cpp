// SPDX-License-Identifier: MIT
#include <algorithm>
#include <functional>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/models/family.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using testing::as_source;
using testing::family;
using testing::kFluxNarrow;
using testing::load_component;
using testing::tensor_named;
using testing::tiny;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

SourceComponent flux_transformer() {
  return tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
}

SourceComponent original_transformer() {
  const SourceComponent source = flux_transformer();
  SourceComponent original =
      as_source(source, map_component(family("flux"), source, Naming::diffusers, Naming::original));
  original.name = "";
  return original;
}

std::string refusal(const SourceComponent& source, Naming naming = Naming::diffusers) {
  return error_of([&] { map_component(family("flux"), source, naming, Naming::mflux); });
}

bool has(const std::string& text, std::string_view part) {
  CAPTURE(text);
  CAPTURE(part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

void erase(SourceComponent& source, std::string_view name) {
  CHECK(std::erase_if(source.tensors, [name](const auto& t) { return t.name == name; }) == 1);
}

void add(SourceComponent& source, const std::string& name, Shape shape) {
  source.tensors.push_back({.name = name, .spec = {Dtype::bf16, std::move(shape)}});
}

TEST_CASE("missing and unknown tensors are listed in one error, with the nearest names") {
  SourceComponent source = flux_transformer();
  erase(source, "x_embedder.weight");
  erase(source, "transformer_blocks.1.attn.to_q.bias");
  add(source, "transformer_blocks.1.attn.to_qq.bias", {64});
  add(source, "something_else", {64});
  const std::string text = refusal(source);
  has(text, "transformer: these tensors are not those of a FLUX.1 transformer in diffusers naming");
  has(text, "missing: 'x_embedder.weight'");
  has(text, "missing: 'transformer_blocks.1.attn.to_q.bias'");
  has(text,
      "unknown: 'transformer_blocks.1.attn.to_qq.bias' (nearest: "
      "'transformer_blocks.1.attn.to_q.bias')");
  has(text, "unknown: 'something_else'");
}

TEST_CASE("what is missing is named as the file would name it") {
  SourceComponent source = original_transformer();
  erase(source, "double_blocks.1.img_attn.qkv.weight");
  erase(source, "single_blocks.0.norm.key_norm.scale");
  const std::string text = refusal(source, Naming::original);
  has(text, "the file: these tensors");
  has(text, "missing: 'double_blocks.1.img_attn.qkv.weight'");
  has(text, "missing: 'single_blocks.0.norm.key_norm.scale'");
}

TEST_CASE("a gap in the block numbers is a missing block") {
  SourceComponent source = flux_transformer();
  std::erase_if(source.tensors, [](const auto& t) {
    return t.name.starts_with("single_transformer_blocks.0.");
  });
  has(refusal(source), "missing: 'single_transformer_blocks.0.proj_mlp.weight'");
  SourceComponent vae = load_component("flux-dev.txt", "vae");
  std::erase_if(vae.tensors, [](const auto& t) {
    return t.name.starts_with("decoder.up_blocks.2.resnets.1.");
  });
  has(refusal(vae), "missing: 'decoder.up_blocks.2.resnets.1.conv1.weight'");
}

TEST_CASE("a gap in the Qwen VAE's flat list is missing") {
  SourceComponent vae = load_component("qwen-image.txt", "vae");
  std::erase_if(
      vae.tensors, [](const auto& t) { return t.name.starts_with("encoder.down_blocks.4."); });
  has(error_of([&] { map_component(family("qwen"), vae, Naming::diffusers, Naming::mflux); }),
      "missing: 'encoder.down_blocks.4'");
}

TEST_CASE("a component without any block is refused") {
  SourceComponent source = flux_transformer();
  std::erase_if(
      source.tensors, [](const auto& t) { return t.name.find("blocks.") != t.name.npos; });
  has(refusal(source), "missing: 'transformer_blocks.0.attn.to_q.weight'");
}

TEST_CASE("the guidance embedder may be missing, but not by half") {
  SourceComponent source = flux_transformer();
  erase(source, "time_text_embed.guidance_embedder.linear_1.weight");
  has(refusal(source), "missing: 'time_text_embed.guidance_embedder.linear_1.weight'");
  std::erase_if(
      source.tensors, [](const auto& t) { return t.name.find("guidance") != t.name.npos; });
  CHECK(refusal(source).empty());
}

TEST_CASE("a shape that does not go with its neighbours is refused") {
  const struct {
    const char* name;
    Shape shape;
    const char* text;
  } kCases[] = {
      {"transformer_blocks.1.attn.to_q.weight",
       {48, 64},
       "'transformer_blocks.1.attn.to_q.weight' has shape (48, 64), expected (64, 64)"},
      {"transformer_blocks.1.attn.to_q.bias", {63}, "has shape (63), expected (64)"},
      {"x_embedder.weight", {32, 64}, "has shape (32, 64), expected (64, 64)"},
      {"single_transformer_blocks.0.proj_out.weight",
       {64, 255},
       "has shape (64, 255), expected (64, 256)"},
      {"norm_out.linear.weight", {129, 64}, "has shape (129, 64), expected (128, 64)"},
      {"transformer_blocks.0.attn.norm_k.weight", {17}, "has shape (17), expected (16)"},
  };
  for (const auto& c : kCases) {
    SourceComponent source = flux_transformer();
    tensor_named(source, c.name).spec.shape = c.shape;
    const std::string text = refusal(source);
    has(text, c.text);
    CHECK(text.find("missing") == std::string::npos);
  }
}

TEST_CASE("shapes within a block of the VAE go together") {
  SourceComponent vae = load_component("flux-dev.txt", "vae");
  tensor_named(vae, "decoder.up_blocks.2.resnets.0.conv_shortcut.weight").spec.shape[1] = 256;
  has(refusal(vae), "has shape (256, 256, 1, 1), expected (256, 512, 1, 1)");
}

TEST_CASE("wrong ranks and integer weights are refused") {
  SourceComponent source = flux_transformer();
  tensor_named(source, "proj_out.weight").spec.shape = {64, 64, 1};
  tensor_named(source, "proj_out.bias").spec.dtype = Dtype::i8;
  const std::string text = refusal(source);
  has(text, "'proj_out.weight' has shape (64, 64, 1), expected 2 dimension(s)");
  has(text, "'proj_out.bias' has dtype I8, expected a float");
  CHECK(text.find("missing") == std::string::npos);
}

TEST_CASE("fused rows must divide") {
  const struct {
    const char* name;
    Shape shape;
    const char* text;
  } kCases[] = {
      {"double_blocks.0.img_attn.qkv.weight", {193, 64}, "(193, 64), expected 3 equal parts"},
      {"double_blocks.0.img_attn.qkv.bias", {191}, "(191), expected 3 equal parts"},
      {"single_blocks.0.linear1.weight",
       {192, 64},
       "(192, 64), expected 3 times 64 rows and some more"},
      {"final_layer.adaLN_modulation.1.bias", {127}, "(127), expected two equal halves"},
      {"double_blocks.0.img_attn.qkv.weight",
       {189, 64},
       "has shape (189, 64), so 'transformer_blocks.0.attn.to_k.weight' would have (63, 64), "
       "expected (64, 64)"},
      {"single_blocks.0.linear1.weight", {384, 65}, "has shape (384, 65)"},
  };
  for (const auto& c : kCases) {
    SourceComponent source = original_transformer();
    tensor_named(source, c.name).spec.shape = c.shape;
    const std::string text = refusal(source, Naming::original);
    has(text, c.text);
    CHECK(text.find("missing") == std::string::npos);
  }
}

TEST_CASE("one tensor under two names is refused") {
  SourceComponent clip = load_component("flux-dev.txt", "text_encoder");
  add(clip, "final_layer_norm.bias", {768});
  has(refusal(clip),
      "'text_model.final_layer_norm.bias' and 'final_layer_norm.bias' are the same tensor");
}

TEST_CASE("all blocks of a saved T5 have the relative bias") {
  const SourceComponent source = load_component("flux-dev.txt", "text_encoder_2");
  SourceComponent saved =
      as_source(source, map_component(family("flux"), source, Naming::diffusers, Naming::mflux));
  const std::string name = "t5_blocks.7.attention.SelfAttention.relative_attention_bias.weight";
  SourceComponent other = saved;
  erase(saved, name);
  has(refusal(saved, Naming::mflux), "missing: '" + name + "'");
  tensor_named(other, name).spec.shape = {32, 63};
  has(refusal(other, Naming::mflux), "has shape (32, 63), expected (32, 64) as 't5_blocks.0");
}

TEST_CASE("a config of another depth is refused") {
  SourceComponent source = flux_transformer();
  source.config =
      R"({"_class_name": "FluxTransformer2DModel", "num_layers": 2, "num_single_layers": 3})";
  has(refusal(source),
      "transformer/config.json: num_single_layers is 3, expected 2: the last block of the tensors "
      "is 'single_transformer_blocks.1'");
  source.config = "[1";
  has(refusal(source), "transformer/config.json is not valid JSON at its byte 3");
}

TEST_CASE("files of other tools are told by their strange names") {
  const struct {
    const char* name;
    const char* text;
  } kCases[] = {
      {"double_blocks.0.img_attn.qkv.scale_weight", "scaled fp8"},
      {"scaled_fp8", "scaled fp8"},
      {"double_blocks.0.img_attn.qkv.weight_scale", "scaled fp8"},
      {"double_blocks.0.img_attn.qkv.input_scale", "scaled fp8"},
      {"double_blocks.0.img_attn.qkv.comfy_quant", "ComfyUI"},
      {"double_blocks.0.img_attn.qkv.weight.absmax", "bitsandbytes"},
      {"double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"},
      {"double_blocks.0.img_attn.qkv.SCB", "bitsandbytes"},
      {"double_blocks.0.img_attn.qkv.qweight", "Nunchaku"},
      {"double_blocks.0.img_attn.qkv.qzeros", "GPTQ"},
      {"double_blocks.0.img_attn.qkv.weight._data", "quanto"},
      {"double_blocks.0.img_attn.qkv.lora_A.weight", "--lora"},
  };
  for (const auto& c : kCases) {
    SourceComponent source = original_transformer();
    source.file = "flux1-dev.safetensors";
    for (int i = 0; i < 300; ++i) add(source, std::to_string(i) + c.name, {1});
    const std::string text = refusal(source, Naming::original);
    has(text, c.text);
    CHECK(text.starts_with("flux1-dev.safetensors: tensor '0" + std::string(c.name) + "' shows "));
    CHECK(std::ranges::count(text, '\n') <= 2);
  }
}

TEST_CASE("a packed format is named even where it hides the model") {
  for (const char* name : {"text_encoder_2", "transformer"}) {
    SourceComponent source = load_component("flux-dev.txt", name);
    for (const char* part : {"absmax", "quant_map", "nested_absmax", "quant_state.x"}) {
      for (int i = 0; i < 1000; ++i) add(source, fmt::format("x.{}.weight.{}", i, part), {1});
    }
    has(error_of([&] { identify({source}, nullptr); }),
        std::string(name) + ": tensor 'x.0.weight.absmax' shows bitsandbytes");
  }
}

TEST_CASE("only the transformer can become a single file") {
  const SourceComponent vae = load_component("flux-dev.txt", "vae");
  has(error_of([&] { map_component(family("flux"), vae, Naming::diffusers, Naming::original); }),
      "FLUX.1's vae has no single-file naming");
}

TEST_CASE("a component that the family does not have is refused") {
  const SourceComponent t5 = load_component("flux-dev.txt", "text_encoder_2");
  has(error_of([&] { map_component(family("qwen"), t5, Naming::diffusers, Naming::mflux); }),
      "Qwen-Image has no component 'text_encoder_2'; it has vae, transformer, text_encoder");
}

TEST_CASE("an absurd block number is an unknown tensor") {
  SourceComponent source = flux_transformer();
  add(source, "transformer_blocks.4000000000.attn.to_q.weight", {64, 64});
  has(refusal(source), "unknown: 'transformer_blocks.4000000000.attn.to_q.weight'");
}

}  // namespace
}  // namespace mflux::models
