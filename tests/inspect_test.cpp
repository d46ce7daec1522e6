// SPDX-License-Identifier: MIT
#include "mflux/inspect.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/save.h"
#include "tests/checkpoints.h"
#include "tests/lora/lora_files.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using lora::testing::LoraFile;
using models::SourceComponent;
using testing::contains;
using testing::error_of;
using testing::TempDir;
using testing::tiny_flux;
using testing::tiny_qwen;
using testing::write_file;
using testing::write_zeros;

using Counts = std::map<std::string, size_t>;

constexpr const char* kWeights = "transformer/diffusion_pytorch_model.safetensors";

ModelReport inspect_model(const fs::path& path, std::optional<std::string> base_model = {}) {
  Inspection found = inspect({.path = path.string(), .base_model = std::move(base_model)});
  REQUIRE(found.model);
  CHECK_FALSE(found.lora);
  return std::move(*found.model);
}

LoraReport inspect_lora(const fs::path& path, std::optional<std::string> model = {}) {
  Inspection found = inspect({.path = path.string(), .model = std::move(model)});
  REQUIRE(found.lora);
  CHECK_FALSE(found.model);
  CHECK(found.bytes == fs::file_size(path));
  return std::move(*found.lora);
}

uint64_t parameters(const SourceComponent& source) {
  uint64_t count = 0;
  for (const auto& tensor : source.tensors) count += tensor.spec.elements();
  return count;
}

void drop_tensors(SourceComponent& source, std::string_view part) {
  CHECK(std::erase_if(source.tensors, [part](const auto& tensor) {
          return contains(tensor.name, part);
        }) != 0);
}

TEST_CASE("a name without its block number, and the number") {
  const struct {
    std::string name;
    std::string pattern;
    std::optional<uint64_t> block;
  } kCases[] = {
      {"transformer_blocks.12.attn.to_out.0", "transformer_blocks.{}.attn.to_out.0", 12},
      {"double_blocks_3_img_mlp_2", "double_blocks_{}_img_mlp_2", 3},
      {"encoder.block.0.layer.1.x", "encoder.block.{}.layer.1.x", 0},
      {"model.layers.27.mlp", "model.layers.{}.mlp", 27},
      {"blocks.1", "blocks.{}", 1},
      {"time_in.in_layer", "time_in.in_layer", {}},
      {"final_layer.adaLN_modulation.1", "final_layer.adaLN_modulation.1", {}},
      {"linear_1", "linear_1", {}},
      {"blocks.", "blocks.", {}},
      {"blocks.99999999999999999999.x", "blocks.99999999999999999999.x", {}},
      {"", "", {}},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    const BlockName found = block_name(c.name);
    CHECK(found.pattern == c.pattern);
    CHECK(found.block == c.block);
  }
}

TEST_CASE("a diffusers folder is known by its headers") {
  const TempDir folder;
  const SourceComponent source = tiny_flux();
  write_zeros(folder / kWeights, source);
  fs::create_directories(folder / "tokenizer");
  write_file(folder / "tokenizer/vocab.json", "{}");
  write_file(folder / "tokenizer/merges.txt", "");
  const Inspection found = inspect({.path = folder.path().string()});
  CHECK(found.bytes == fs::file_size(folder / kWeights));
  const ModelReport& report = *found.model;
  CHECK(models::family_name(*report.checkpoint.family) == "flux");
  CHECK(report.checkpoint.naming == models::Naming::diffusers);
  CHECK(report.variant == "dev");
  CHECK(report.saved_by == "");
  CHECK(report.unknown == "");
  REQUIRE(report.components.size() == 1);
  const ComponentReport& transformer = report.components.front();
  CHECK(transformer.name == "transformer");
  CHECK(transformer.tensors == source.tensors.size());
  CHECK(transformer.parameters == parameters(source));
  CHECK(transformer.bytes == 2 * parameters(source));
  CHECK(transformer.dtypes == Counts{{"BF16", source.tensors.size()}});
  CHECK(transformer.formats.empty());
  CHECK(transformer.level == "");
  CHECK_FALSE(transformer.at_load);
  CHECK(transformer.index == "");
  CHECK(transformer.problem == "");
  CHECK(transformer.blocks == Counts{{"single_transformer_blocks", 2}, {"transformer_blocks", 2}});
  CHECK(report.missing == std::vector<std::string>{"vae", "text_encoder_2", "text_encoder"});
  REQUIRE(report.folders.size() == 3);
  CHECK(report.folders[0].name == "tokenizer");
  CHECK(report.folders[0].files == 2);
  CHECK(report.folders[1].files == 0);
  CHECK_FALSE(report.receipt);
}

TEST_CASE("FLUX.1's variants are told by the transformer's inputs") {
  const struct {
    std::string variant;
    bool guidance;
    uint64_t columns;
  } kCases[] = {
      {"dev", true, 64},
      {"schnell", false, 64},
      {"Canny or Depth", true, 128},
      {"Fill", true, 384}};
  for (const auto& c : kCases) {
    CAPTURE(c.variant);
    const TempDir folder;
    SourceComponent source = tiny_flux();
    if (!c.guidance) drop_tensors(source, "guidance_embedder");
    models::testing::tensor_named(source, "x_embedder.weight").spec.shape = {64, c.columns};
    write_zeros(folder / kWeights, source);
    const ModelReport report = inspect_model(folder.path());
    CHECK(report.components.front().problem == "");
    CHECK(report.variant == c.variant);
  }
}

TEST_CASE("model_index.json tells Qwen-Image-Edit from Qwen-Image") {
  const TempDir folder;
  write_zeros(folder / kWeights, tiny_qwen());
  CHECK(inspect_model(folder.path()).variant == "qwen");
  write_file(folder / "model_index.json", R"({"_class_name": "QwenImageEditPlusPipeline"})");
  CHECK(inspect_model(folder.path()).variant == "qwen-edit");
}

TEST_CASE("one file in BFL's names is a model without its other parts") {
  const TempDir folder;
  const SourceComponent source = tiny_flux();
  using enum models::Naming;
  const SourceComponent file = models::testing::as_source(
      source, models::map_component(models::testing::family("flux"), source, diffusers, original));
  write_zeros(folder / "flux1.safetensors", file);
  const ModelReport report = inspect_model(folder / "flux1.safetensors");
  CHECK(models::family_name(*report.checkpoint.family) == "flux");
  CHECK(report.checkpoint.naming == original);
  CHECK(report.checkpoint.single_file);
  REQUIRE(report.components.size() == 1);
  CHECK(report.components.front().tensors == file.tensors.size());
  CHECK(report.components.front().parameters == parameters(source));
  CHECK(report.missing.empty());
  CHECK(report.folders.empty());
}

TEST_CASE("a component's folder can be looked at by itself") {
  const TempDir folder;
  write_zeros(folder / kWeights, tiny_flux());
  for (const std::string path : {"transformer", "transformer/"}) {
    const ModelReport report = inspect_model(folder / path);
    CHECK(models::family_name(*report.checkpoint.family) == "flux");
    CHECK(report.components.front().name == "transformer");
    CHECK(report.components.front().problem == "");
  }
}

TEST_CASE("a single file beside the folders does not hide them") {
  const TempDir folder;
  write_zeros(folder / kWeights, tiny_flux());
  write_zeros(folder / "flux1-dev.safetensors", tiny_flux());
  CHECK(inspect_model(folder.path()).components.front().name == "transformer");
}

TEST_CASE("components that the family does not have are listed as such") {
  const TempDir folder;
  write_zeros(folder / kWeights, tiny_flux());
  SourceComponent encoder;
  encoder.tensors = {{.name = "vision.weight", .spec = {Dtype::f16, {2, 3}}}};
  write_zeros(folder / "image_encoder/model.safetensors", encoder);
  const ModelReport report = inspect_model(folder.path());
  REQUIRE(report.components.size() == 2);
  CHECK(report.components[0].of_family);
  CHECK_FALSE(report.components[1].of_family);
  CHECK(report.components[1].name == "image_encoder");
  CHECK(report.components[1].dtypes == Counts{{"F16", 1}});
}

TEST_CASE("a model that is incomplete is described with what is missing") {
  const TempDir folder;
  SourceComponent source = tiny_flux();
  drop_tensors(source, "transformer_blocks.1.attn.to_q.weight");
  write_zeros(folder / kWeights, source);
  const ModelReport report = inspect_model(folder.path());
  const std::string& problem = report.components.front().problem;
  CHECK_MESSAGE(contains(problem, "transformer_blocks.1.attn.to_q.weight"), problem);
}

TEST_CASE("a safetensors file of no known model is still described") {
  const TempDir folder;
  SourceComponent source;
  source.tensors = {
      {.name = "layer.weight", .spec = {Dtype::f32, {3, 5}}},
      {.name = "layer.steps", .spec = {Dtype::i64, {}}}};
  write_zeros(folder / "other.safetensors", source);
  const ModelReport report = inspect_model(folder / "other.safetensors");
  CHECK(report.checkpoint.family == nullptr);
  CHECK(contains(report.unknown, "cannot tell what model this is"));
  REQUIRE(report.components.size() == 1);
  CHECK(report.components.front().parameters == 16);
  CHECK(report.components.front().bytes == 68);
  CHECK(report.components.front().dtypes == Counts{{"F32", 1}, {"I64", 1}});
}

// ---- what mflux saved

LoraFile proj_lora() {
  LoraFile file;
  for (const std::string block : {"0", "1"}) {
    const std::string module = "transformer.single_transformer_blocks." + block + ".proj_mlp";
    file.add(module + ".lora_A.weight", {4, 64});
    file.add(module + ".lora_B.weight", {192, 4});
  }
  return file;
}

// Saves the tiny FLUX at folder/model as folder/out.
fs::path save_tiny(const TempDir& folder, SaveOptions options) {
  write_zeros(folder / "model" / kWeights, tiny_flux());
  options.model = (folder / "model").string();
  options.output = folder / "out";
  save(options);
  return folder / "out";
}

TEST_CASE("a packed folder tells its formats and what was baked") {
  const TempDir folder;
  const fs::path lora = proj_lora().write(folder, "style.safetensors");
  const ModelReport report = inspect_model(
      save_tiny(folder, {.bits = 4, .loras = {{.name = lora.string(), .scale = 0.5}}}));
  CHECK(report.checkpoint.naming == models::Naming::mflux);
  CHECK(contains(report.saved_by, "mflux.cpp "));
  const ComponentReport& transformer = report.components.front();
  REQUIRE(transformer.formats.size() == 1);
  const auto& [format, count] = *transformer.formats.begin();
  CHECK(format == "4-bit affine, group 64");
  CHECK(transformer.dtypes.at("U32") == count);
  CHECK(transformer.dtypes.at("BF16") == transformer.tensors + count);
  CHECK(transformer.parameters == parameters(tiny_flux()));
  CHECK(transformer.level == "4");
  CHECK_FALSE(transformer.at_load);
  CHECK(transformer.index == "model.safetensors.index.json");
  CHECK(transformer.problem == "");
  REQUIRE(report.receipt);
  REQUIRE(report.receipt->loras.size() == 1);
  CHECK(report.receipt->loras.front().file.file == "style.safetensors");
  CHECK(report.receipt->loras.front().scale == 0.5);
  CHECK(report.receipt->loras.front().layers == 2);
}

TEST_CASE("a folder to be quantized at load is full precision and says the level") {
  const TempDir folder;
  const ModelReport report =
      inspect_model(save_tiny(folder, {.bits = 8, .quantize_at_load = true}));
  const ComponentReport& transformer = report.components.front();
  CHECK(transformer.formats.empty());
  CHECK(transformer.level == "8");
  CHECK(transformer.at_load);
}

TEST_CASE("a receipt that cannot be read is a remark, not an error") {
  const TempDir folder;
  const fs::path saved = save_tiny(folder, {});
  write_file(saved / "bake.json", "{\"format\": 3");
  const ModelReport report = inspect_model(saved);
  CHECK_FALSE(report.receipt);
  CHECK(contains(report.receipt_problem, "bake.json"));
}

// ---- LoRAs

TEST_CASE("a LoRA without a model is grouped by the layers it names") {
  const TempDir folder;
  LoraFile file = proj_lora();
  file.metadata = {{"ss_sd_scripts_commit_hash", "x"}, {"ss_network_module", "networks.lora_flux"}};
  const LoraReport report = inspect_lora(file.write(folder));
  CHECK(report.survey.trainer.name == "kohya's scripts (networks.lora_flux)");
  CHECK(report.model == "");
  CHECK(report.components.empty());
  CHECK(report.problems.empty());
  CHECK(report.survey.made_for.name == "flux");
  REQUIRE(report.layers.size() == 1);
  CHECK(report.layers.front().component == "transformer");
  CHECK(report.layers.front().layer == "single_transformer_blocks.{}.proj_mlp");
  CHECK(report.layers.front().hit == 2);
  CHECK(report.layers.front().of == 0);
  CHECK(report.layers.front().blocks == std::vector<uint64_t>{0, 1});
}

TEST_CASE("trainers are known by their metadata") {
  const std::vector<std::pair<safetensors::Metadata, std::string>> cases = {
      {{}, ""},
      {{{"format", "pt"}}, ""},
      {{{"software", R"({"name": "ai-toolkit", "version": "0.1"})"}}, "ai-toolkit"},
      {{{"software", "plain"}}, "plain"},
      {{{"software", "[1]"}}, "[1]"},
      {{{"ot_revision", "abc"}}, "OneTrainer"},
      {{{"ss_network_module", "lycoris.kohya"}}, "lycoris.kohya"},
      {{{"lora_adapter_metadata", "{}"}}, "diffusers / PEFT"},
  };
  for (const auto& [metadata, trainer] : cases) {
    CAPTURE(trainer);
    const TempDir folder;
    LoraFile file = proj_lora();
    file.metadata = metadata;
    CHECK(inspect_lora(file.write(folder)).survey.trainer.name == trainer);
  }
}

TEST_CASE("on a model a LoRA's coverage is counted in the model's tensors") {
  const TempDir folder;
  write_zeros(folder / "model" / kWeights, tiny_flux());
  LoraFile file;
  const std::string qkv = "lora_unet_double_blocks_1_img_attn_qkv";
  file.add(qkv + ".lora_down.weight", {4, 64});
  file.add(qkv + ".lora_up.weight", {192, 4});
  file.add("diffusion_model.double_blocks.0.img_attn.qkv.diff_b", {192});
  file.add("lora_unet_double_blocks_0_img_attn_qqv.lora_up.weight", {192, 4});
  const LoraReport report = inspect_lora(file.write(folder), (folder / "model").string());
  CHECK(report.model == "FLUX.1");
  REQUIRE(report.components.size() == 1);
  CHECK(report.components.front().component == "transformer");
  CHECK(report.components.front().hit == 3);  // the biases are no weights
  CHECK(report.components.front().of > 40);
  std::vector<std::string> layers;
  for (const LayerCoverage& layer : report.layers) {
    layers.push_back(layer.layer);
    CHECK(layer.hit == 1);
    CHECK(layer.of == 2);
    CHECK(layer.blocks == std::vector<uint64_t>{layer.layer.ends_with(".bias") ? 0U : 1U});
  }
  const std::string attn = "transformer_blocks.{}.attn.";
  CHECK(
      layers == std::vector<std::string>{
                    attn + "to_k",
                    attn + "to_k.bias",
                    attn + "to_q",
                    attn + "to_q.bias",
                    attn + "to_v",
                    attn + "to_v.bias"});
  REQUIRE(report.problems.size() == 1);
  CHECK(contains(
      report.problems.front().message, "nearest known name: double_blocks.0.img_attn.qkv"));
}

TEST_CASE("a folder with one LoRA in it is that LoRA") {
  const TempDir folder;
  proj_lora().write(folder, "adapter_model.safetensors");
  write_file(folder / "adapter_config.json", R"({"lora_alpha": 8, "r": 4})");
  const Inspection found = inspect({.path = folder.path().string()});
  REQUIRE(found.lora);
  CHECK(found.lora->survey.modules.front().alpha == 8);
}

// ---- errors

TEST_CASE("what cannot be looked at is an error that names it") {
  const TempDir folder;
  fs::create_directories(folder / "empty");
  write_file(folder / "text.txt", "not a model");
  write_file(folder / "text.safetensors", "not a model");
  fs::create_directories(folder / "broken/transformer");
  write_file(folder / "broken/transformer/0.safetensors", std::string(100, 'x'));
  fs::create_directories(folder / "torch");
  write_file(folder / "torch/model.bin", "");
  for (const std::string name :
       {"absent", "empty", "text.txt", "text.safetensors", "broken", "torch"}) {
    CAPTURE(name);
    const std::string error = error_of([&] { inspect({.path = (folder / name).string()}); });
    CHECK_MESSAGE(contains(error, (folder / name).string()), error);
  }
  CHECK_FALSE(error_of([] { inspect({.path = ""}); }).empty());
}

TEST_CASE("a truncated file is an error") {
  const TempDir folder;
  const fs::path lora = proj_lora().write(folder);
  fs::resize_file(lora, fs::file_size(lora) - 1);
  CHECK(contains(error_of([&] { inspect({.path = lora.string()}); }), lora.string()));
}

TEST_CASE("--model is for LoRAs, and a wrong --base-model is refused") {
  const TempDir folder;
  write_zeros(folder / kWeights, tiny_flux());
  const std::string path = folder.path().string();
  CHECK(contains(error_of([&] { inspect({.path = path, .model = path}); }), "is not a LoRA"));
  CHECK(contains(error_of([&] { inspect({.path = path, .base_model = "qwen"}); }), "asked for"));
  CHECK(contains(error_of([&] { inspect({.path = path, .base_model = "sdxl"}); }), "sdxl"));
}

}  // namespace
}  // namespace mflux
