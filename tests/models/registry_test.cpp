// SPDX-License-Identifier: MIT
#include <string>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "mflux/models/family.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using testing::as_source;
using testing::family;
using testing::load_component;
using testing::load_headers;
using testing::tiny;

std::vector<SourceComponent> folder(const std::string& file) {
  std::vector<SourceComponent> components;
  for (const auto& [name, component] : load_headers(file)) components.push_back(tiny(component));
  return components;
}

std::vector<SourceComponent> in_naming(
    const std::vector<SourceComponent>& components, const Family& model, Naming naming) {
  std::vector<SourceComponent> result;
  for (const SourceComponent& c : components) {
    if (naming == Naming::original && c.name != "transformer") continue;
    result.push_back(as_source(c, map_component(model, c, Naming::diffusers, naming)));
    if (naming == Naming::original) result.back().name = "";
  }
  return result;
}

SourceComponent model_index(const std::string& class_name) {
  return {.config = R"({"_class_name": ")" + class_name + R"("})"};
}

std::string refusal(const std::vector<SourceComponent>& components, const Family* asked = nullptr) {
  try {
    identify(components, asked);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("families and namings are known by their tensors") {
  for (const char* file : {"flux-dev.txt", "flux-schnell.txt", "qwen-image.txt"}) {
    CAPTURE(file);
    const Family* model = find_family(std::string(file).starts_with("flux") ? "flux" : "qwen");
    for (const Naming naming : {Naming::diffusers, Naming::mflux, Naming::original}) {
      const auto components = in_naming(folder(file), *model, naming);
      const Identified found = identify(components, nullptr);
      CHECK(found.family == model);
      CHECK(found.naming == naming);
      CHECK(identify(components, model).family == model);
      for (const SourceComponent& component : components) {
        CHECK_NOTHROW(map_component(*model, component, found.naming, Naming::mflux));
      }
    }
  }
}

TEST_CASE("metadata of mflux does not make a diffusers folder one of mflux's") {
  auto components = folder("flux-dev.txt");
  for (SourceComponent& component : components) component.saved_by_mflux = true;
  CHECK(identify(components, nullptr).naming == Naming::diffusers);
}

TEST_CASE("a single file may have ComfyUI's prefix or diffusers' names") {
  SourceComponent file = tiny(load_component("flux-dev.txt", "transformer"));
  file.name = "";
  CHECK(identify({file}, nullptr).naming == Naming::diffusers);
  file =
      in_naming(
          {tiny(load_component("flux-dev.txt", "transformer"))}, family("flux"), Naming::original)
          .front();
  for (auto& tensor : file.tensors) tensor.name = "model.diffusion_model." + tensor.name;
  CHECK(identify({file}, nullptr).naming == Naming::original);
  CHECK_NOTHROW(map_component(family("flux"), file, Naming::original, Naming::original));
}

TEST_CASE(
    "the edit variant shows in model_index.json, in config.json, or in a saved vision tower") {
  auto components = folder("qwen-image.txt");
  const Family* edit = find_family("qwen-edit");
  CHECK(identify(components, edit).family == edit);
  CHECK(identify(components, find_family("qwen")).family == find_family("qwen"));
  components.push_back(model_index("QwenImageEditPlusPipeline"));
  CHECK(identify(components, nullptr).family == edit);
  CHECK(identify(components, find_family("qwen")).family == edit);
  components.back() = model_index("QwenImagePipeline");
  CHECK(identify(components, nullptr).family == find_family("qwen"));
  components.pop_back();
  for (SourceComponent& component : components) {
    if (component.name != "transformer") continue;
    component.config = R"({"_class_name": "QwenImageTransformer2DModel", "zero_cond_t": true})";
  }
  CHECK(identify(components, nullptr).family == edit);
  const auto saved = in_naming(folder("qwen-image.txt"), *edit, Naming::mflux);
  CHECK(identify(saved, nullptr).family == edit);
  CHECK(family_name(*edit) == "qwen");
  CHECK(family_title(*edit) == "Qwen-Image-Edit");
}

TEST_CASE("another family than the one asked for is refused") {
  CHECK(
      refusal(folder("flux-dev.txt"), find_family("qwen")) ==
      "the model is FLUX.1, but Qwen-Image was asked for");
  CHECK(
      refusal(folder("qwen-image.txt"), find_family("flux")) ==
      "the model is Qwen-Image, but FLUX.1 was asked for");
}

TEST_CASE("foreign models are named by their class") {
  const struct {
    const char* class_name;
    const char* text;
  } kCases[] = {
      {"Flux2Transformer2DModel",
       "transformer/config.json says 'Flux2Transformer2DModel': this is FLUX.2"},
      {"ChromaTransformer2DModel", "this is Chroma"},
      {"SD3Transformer2DModel", "this is Stable Diffusion 3"},
      {"ZImageTransformer2DModel", "this is Z-Image"},
      {"SomethingElse",
       "transformer/config.json says 'SomethingElse'; expected FLUX.1, Qwen-Image"},
  };
  for (const auto& c : kCases) {
    auto components = folder("flux-dev.txt");
    for (SourceComponent& component : components) {
      if (component.name == "transformer") component.config = model_index(c.class_name).config;
    }
    CHECK(refusal(components).find(c.text) != std::string::npos);
  }
  CHECK(
      refusal({model_index("StableDiffusionXLPipeline")}).find("Stable Diffusion XL") !=
      std::string::npos);
  CHECK(
      refusal({{.name = "transformer", .config = "{", .tensors = {{.name = "x"}}}}) ==
      "transformer/config.json is not valid JSON at its byte 2");
}

TEST_CASE("foreign models are named by their tensors") {
  const struct {
    const char* tensor;
    const char* text;
  } kCases[] = {
      {"double_stream_modulation_img.lin.weight", "looks like FLUX.2"},
      {"distilled_guidance_layer.in_proj.weight", "looks like Chroma"},
      {"model.diffusion_model.input_blocks.0.0.weight", "looks like Stable Diffusion"},
      {"model.diffusion_model.label_emb.0.0.weight", "looks like Stable Diffusion XL"},
      {"joint_blocks.0.context_block.attn.qkv.weight", "looks like Stable Diffusion 3"},
      {"noise_refiner.0.attention.qkv.weight", "looks like Z-Image"},
      {"transformer_blocks.0.img_mlp.gate_layer.weight", "looks like Qwen-Image 2"},
      {"double_blocks.0.img_attn_qkv.weight", "looks like HunyuanVideo"},
      {"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", "looks like a LoRA"},
      {"some.other.weight",
       "cannot tell what model this is: the file has 1 tensors such as 'some.other.weight'"},
  };
  for (const auto& c : kCases) {
    SourceComponent file;
    file.tensors.push_back({.name = c.tensor, .spec = {Dtype::bf16, {64, 64}}});
    const std::string text = refusal({file});
    CAPTURE(text);
    CHECK(text.find(c.text) != std::string::npos);
  }
  CHECK(refusal({}) == "no tensors found; expected FLUX.1, Qwen-Image or Qwen-Image-Edit");
}

TEST_CASE("components and folders of a family") {
  CHECK(
      weight_components(family("flux")) ==
      std::vector<std::string>{"vae", "transformer", "text_encoder_2", "text_encoder"});
  CHECK(
      weight_components(family("qwen")) ==
      std::vector<std::string>{"vae", "transformer", "text_encoder"});
  CHECK(copied_folders(family("flux")).size() == 3);
  CHECK(copied_folders(family("qwen")) == std::vector<std::string>{"tokenizer", "scheduler"});
  CHECK(copied_folders(family("qwen-edit")).size() == 3);
  CHECK(find_family("sdxl") == nullptr);
}

TEST_CASE("built-in names stand for mflux's repositories") {
  const struct {
    const char* name;
    const char* repository;
    const char* family;
  } kCases[] = {
      {"dev", "black-forest-labs/FLUX.1-dev", "flux"},
      {"schnell", "black-forest-labs/FLUX.1-schnell", "flux"},
      {"krea-dev", "black-forest-labs/FLUX.1-Krea-dev", "flux"},
      {"kontext", "black-forest-labs/FLUX.1-Kontext-dev", "flux"},
      {"fill", "black-forest-labs/FLUX.1-Fill-dev", "flux"},
      {"qwen-image", "Qwen/Qwen-Image-2512", "qwen"},
      {"qwen-image-edit", "Qwen/Qwen-Image-Edit-2509", "qwen-edit"},
  };
  for (const auto& c : kCases) {
    const KnownModel* known = find_known_model(c.name);
    REQUIRE(known != nullptr);
    CHECK(known->repository == c.repository);
    CHECK(known->family == c.family);
    CHECK(find_family(known->family) != nullptr);
  }
  CHECK(find_known_model("flux1") == nullptr);
}

}  // namespace
}  // namespace mflux::models
