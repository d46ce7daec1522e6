// SPDX-License-Identifier: MIT
#include "mflux/doctor/doctor.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/save.h"
#include "tests/checkpoints.h"
#include "tests/lora/lora_files.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using lora::testing::LoraFile;
using testing::contains;
using testing::TempDir;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;

const std::string kQkv = "lora_unet_double_blocks_0_img_attn_qkv";

LoraFile pair(const std::string& module, uint64_t outputs, uint64_t inputs = 64) {
  LoraFile file;
  file.add(module + ".lora_down.weight", {4, inputs});
  file.add(module + ".lora_up.weight", {outputs, 4});
  return file;
}

void append(LoraFile& file, const LoraFile& more) {
  file.tensors.insert(file.tensors.end(), more.tensors.begin(), more.tensors.end());
}

void set_up(LoraFile& file, const std::string& module, float value) {
  for (testing::TestTensor& tensor : file.tensors) {
    if (tensor.name != module + ".lora_up.weight") continue;
    tensor = testing::f32_tensor(
        tensor.name,
        tensor.spec.shape,
        std::vector<float>(element_count(tensor.spec.shape).value(), value));
  }
}

LoraReport report(const LoraFile& file, LoraReportOptions options = {}) {
  const TempDir folder;
  return report_lora(file.write(folder), options);
}

TEST_CASE("without a model the published one stands in, in the widths of the file") {
  const LoraReport flux = report(pair(kQkv, 192));
  CHECK(flux.fit == Fit::fits);
  CHECK(flux.stand_in == "FLUX.1");
  CHECK(flux.model == "");
  CHECK(contains(flux.verdict, "fits FLUX.1 as it was published"));
  CHECK(flux.kept.empty());
  const LoraReport qwen = report(pair("lora_unet_transformer_blocks_59_img_mlp_net_2", 64, 128));
  CHECK(qwen.stand_in == "Qwen-Image");
  CHECK(qwen.fit == Fit::fits);
}

TEST_CASE(
    "a layer the published model does not have is told with the nearest name and the reason") {
  LoraFile file = pair(kQkv, 192);
  append(file, pair("lora_unet_double_blocks_19_img_attn_qkv", 192));
  append(file, pair("lora_unet_double_blocks_0_img_atn_qkv", 192));
  append(file, pair("text_encoder_3.encoder.block.0.layer.0.SelfAttention.q", 64));
  append(file, pair("lora_unet_layers_0_attention_to_q", 64));
  const LoraReport found = report(file);
  CHECK(found.fit == Fit::fits_not);
  REQUIRE(found.problems.size() == 4);
  std::string all;
  for (const lora::Problem& problem : found.problems) all += problem.message + "\n";
  CHECK(contains(all, "block 19 does not exist: the model has 19"));
  CHECK(contains(all, "nearest known name: double_blocks."));
  CHECK(contains(all, "FLUX.1 has no component text_encoder_3"));
  CHECK(contains(all, "this looks like a LoRA for Z-Image"));
  CHECK(contains(found.verdict, "(and 3 more)"));
}

TEST_CASE("a file for another model, and one that could be for two, are told apart") {
  LoraFile sdxl = pair("lora_unet_input_blocks_4_1_proj_in", 64);
  sdxl.metadata["ss_base_model_version"] = "sdxl_base_v1-0";
  CHECK(report(sdxl).fit == Fit::fits_not);
  CHECK(report(sdxl).verdict == "made for SDXL, which is not supported");
  const LoraReport either = report(pair("transformer.transformer_blocks.0.attn.to_q", 64));
  CHECK(either.fit == Fit::untold);
  CHECK(either.stand_in == "");
  const LoraReport asked =
      report(pair("transformer.transformer_blocks.0.attn.to_q", 64), {.base_model = "qwen"});
  CHECK(asked.stand_in == "Qwen-Image");
  CHECK(asked.fit == Fit::fits);
}

TEST_CASE("where nothing is known the verdict is unknown, with what the names look like") {
  const LoraReport sdxl = report(pair("lora_unet_input_blocks_4_1_proj_in", 64));
  CHECK(sdxl.fit == Fit::untold);
  CHECK(contains(sdxl.verdict, "none of its layers is one of FLUX.1 or Qwen-Image"));
  CHECK(contains(sdxl.verdict, "it looks like a LoRA for Stable Diffusion or SDXL"));
  const LoraReport nonsense = report(pair("a.b.c", 64));
  CHECK(nonsense.fit == Fit::untold);
  // Names that FLUX.1 has too, of a model that it is not.
  CHECK(report(pair("lora_unet_final_layer_linear_x", 64)).fit == Fit::untold);
}

TEST_CASE("every family is tried, and the one that fits wholly is the one") {
  LoraFile qwen = pair("transformer.transformer_blocks.0.attn.to_q", 64);
  append(qwen, pair("transformer.transformer_blocks.40.attn.to_q", 64));
  CHECK(report(qwen).stand_in == "Qwen-Image");
  CHECK(report(qwen).fit == Fit::fits);
  LoraFile incomplete;
  incomplete.add("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", {4, 64});
  CHECK(report(incomplete).fit == Fit::fits_not);
}

TEST_CASE("inspect without a model says nothing else than a save") {
  TinySave tiny;
  const auto check_same = [&](const LoraFile& file) {
    SaveOptions options = tiny.options();
    options.loras = {{.name = file.write(tiny.folder, "tried.safetensors").string()}};
    const LoraReport found = report_lora(options.loras.front().name, {});
    const std::string error = testing::error_of([&] { save(options); });
    CAPTURE(error);
    CHECK(error.empty() == (found.fit == Fit::fits && found.stand_in == "FLUX.1"));
    fs::remove_all(options.output);
  };
  check_same(pair(kQkv, 192));
  check_same(pair("lora_unet_input_blocks_4_1_proj_in", 64));
  check_same(pair("lora_unet_transformer_blocks_0_img_mlp_net_2", 64, 256));
  LoraFile two = pair("double_blocks.0.img_attn.qkv", 192);
  two.add_value("double_blocks.0.img_attn.qkv.alpha.a", 1);
  two.add_value("double_blocks.0.img_attn.proj.alpha.b", 1);
  check_same(two);
  CHECK(report(two).fit == Fit::fits_not);
  LoraFile embedding;
  embedding.add("emb_params", {2, 768});
  check_same(embedding);
  CHECK(contains(report(embedding).verdict, "is not a LoRA but a textual inversion"));
}

TEST_CASE("layers without effect are listed with the reason") {
  LoraFile file = pair(kQkv, 192);
  append(file, pair("lora_unet_double_blocks_1_img_attn_qkv", 192));
  append(file, pair("lora_unet_double_blocks_2_img_attn_qkv", 192));
  set_up(file, kQkv, 0);
  file.add_value("lora_unet_double_blocks_1_img_attn_qkv.alpha", 0);
  const LoraReport found = report(file, {.block_scales = "double:2=0"});
  REQUIRE(found.dead.size() == 3);
  CHECK(found.dead[0].module == kQkv);
  CHECK(found.dead[0].why == "B is all zero");
  CHECK(found.dead[1].why == "alpha is 0");
  CHECK(found.dead[2].why == "the scale of its block is 0");
  CHECK(found.fit == Fit::nothing);
  CHECK(contains(found.verdict, "changes nothing"));
  CHECK(report(pair(kQkv, 192)).dead.empty());
  CHECK(report(pair(kQkv, 192), {.scale = 0}).dead.front().why == "strength 0");
}

TEST_CASE("a product with a factor of zeros is dead") {
  LoraFile file;
  file.add("lora_unet_double_blocks_0_img_attn_proj.lokr_w1", {2, 2});
  file.tensors.push_back(testing::f32_tensor(
      "lora_unet_double_blocks_0_img_attn_proj.lokr_w2", {32, 32}, std::vector<float>(1024)));
  const LoraReport found = report(file);
  CHECK(found.fit == Fit::nothing);
  REQUIRE(found.dead.size() == 1);
  CHECK(found.dead.front().why == "a factor is all zero");
}

TEST_CASE("two spellings of one layer are told, a fused layer once") {
  LoraFile file = pair(kQkv, 192);
  const std::string twin = "diffusion_model.double_blocks.0.img_attn.qkv";
  append(file, pair(twin, 192));
  append(file, pair("lora_unet_double_blocks_1_img_attn_qkv", 192));
  const LoraReport found = report(file);
  REQUIRE(found.duplicates.size() == 1);
  CHECK(found.duplicates.front().modules == std::vector<std::string>{kQkv, twin});
  CHECK(contains(found.duplicates.front().layer, "transformer/transformer_blocks.0.attn.to_"));
}

TEST_CASE("values that are not finite make a LoRA not fit") {
  LoraFile file = pair(kQkv, 192);
  set_up(file, kQkv, std::numeric_limits<float>::infinity());
  const LoraReport found = report(file);
  CHECK(found.fit == Fit::fits_not);
  CHECK(found.problems.front().kind == lora::ProblemKind::non_finite);
}

TEST_CASE("coverage is counted by block, with a model against the model") {
  const TempDir folder;
  testing::write_zeros(
      folder / "model/transformer/diffusion_pytorch_model.safetensors", testing::tiny_flux());
  LoraFile file = pair(kQkv, 192);
  append(file, pair("lora_unet_double_blocks_1_img_attn_proj", 64));
  const LoraReport alone = report(file);
  REQUIRE(alone.blocks.size() == 2);
  CHECK(alone.blocks[0].blocks == "double_blocks_{}");
  CHECK(alone.blocks[0].hit == 1);
  CHECK(alone.blocks[0].of == 0);
  const LoraReport tried = report(file, {.model = (folder / "model").string()});
  CHECK(tried.fit == Fit::fits);
  CHECK(tried.verdict == "fits FLUX.1: every key can be merged");
  const auto block = [&](std::string_view blocks, uint64_t number) {
    const auto found = std::ranges::find_if(tried.blocks, [&](const BlockCoverage& coverage) {
      return coverage.blocks == blocks && coverage.block == number;
    });
    REQUIRE(found != tried.blocks.end());
    return *found;
  };
  CHECK(block("transformer_blocks.{}", 0).hit == 3);
  CHECK(block("transformer_blocks.{}", 0).of == 18);
  CHECK(block("transformer_blocks.{}", 1).hit == 1);
  CHECK(block("single_transformer_blocks.{}", 1).hit == 0);
  CHECK(block("single_transformer_blocks.{}", 1).of == 8);
  CHECK(block("", 0).hit == 0);
}

// What a save of the same says, by tensor.
double saved_kept(const TinySave& tiny, const std::string& model, std::optional<int> bits) {
  const std::string name =
      "kept-" + fs::path(model).filename().string() + std::to_string(bits.value_or(16));
  SaveOptions options = tiny.options(name);
  options.model = model;
  options.bits = bits;
  return save(options).receipt.loras.at(0).kept;
}

TEST_CASE("the share expected to survive is what a save measures, nearly") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    const TinySave tiny(family, TinySave::kSize);
    write_tiny_lora(tiny.path("lora.safetensors"), family, TinyLora::kohya, TinySave::kSize);
    const LoraReport found =
        report_lora(tiny.path("lora.safetensors"), {.model = tiny.path("model")});
    REQUIRE(found.kept.size() == 4);
    for (const ExpectedKept& kept : found.kept) {
      CAPTURE(kept.bits);
      const auto bits = kept.bits == 16 ? std::nullopt : std::optional(kept.bits);
      CHECK(std::abs(kept.kept - saved_kept(tiny, tiny.path("model"), bits)) < 0.01);
      CHECK(kept.layers.size() == found.kept.front().layers.size());
    }
    CHECK(found.kept[0].layers.front().stored == "BF16");
    CHECK(found.kept[1].bits == 8);
    const auto packed = [](const LayerKept& layer) {
      return contains(layer.stored, "8-bit affine, group 64");
    };
    CHECK(std::ranges::any_of(found.kept[1].layers, packed));
  }
}

TEST_CASE("on a base of 4 bits the expected share is as low as a save's") {
  const TinySave tiny;
  SaveOptions pack = tiny.options("packed");
  pack.bits = 4;
  pack.loras = {};
  save(pack);
  const LoraReport found =
      report_lora(tiny.path("lora.safetensors"), {.model = tiny.path("packed"), .scale = 0.1});
  REQUIRE(found.kept.size() == 4);
  CHECK(found.kept.front().kept > 0.9);
  SaveOptions bake = tiny.options("baked");
  bake.model = tiny.path("packed");
  bake.bits = 4;
  bake.loras.front().scale = 0.1;
  CHECK(std::abs(found.kept.back().kept - save(bake).receipt.loras.at(0).kept) < 0.05);
}

TEST_CASE("of updates that need the whole matrix the expected share is a save's too") {
  const TinySave tiny;
  LoraFile file = pair("lora_unet_double_blocks_0_img_attn_qkv", 192);
  file.add("lora_unet_double_blocks_0_img_attn_qkv.dora_scale", {1, 64});
  append(file, pair("lora_unet_double_blocks_0_img_attn_proj", 64));
  const std::string lora = file.write(tiny.folder, "dora.safetensors").string();
  const LoraReport found = report_lora(lora, {.model = tiny.path("model"), .scale = 0.01});
  CHECK_MESSAGE(found.fit == Fit::fits, found.verdict);
  REQUIRE(found.kept.size() == 4);
  CHECK(found.kept.back().layers.size() == 4);
  SaveOptions bake = tiny.options("dora");
  bake.bits = 4;
  bake.loras = {{.name = lora, .scale = 0.01}};
  // All 64 rows are looked at, so nothing is estimated.
  CHECK(std::abs(found.kept.back().kept - save(bake).receipt.loras.at(0).kept) < 1e-9);
}

TEST_CASE("what does not fit, and what has no strength, is left out of the share kept") {
  const TinySave tiny;
  write_tiny_lora(
      tiny.path("bad.safetensors"), TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  const LoraReport found = report_lora(tiny.path("bad.safetensors"), {.model = tiny.path("model")});
  CHECK(found.fit == Fit::fits_not);
  CHECK(found.problems.size() == 2);
  REQUIRE(found.kept.size() == 4);
  CHECK(found.kept.front().layers.size() == 19);
  const LoraReport none =
      report_lora(tiny.path("lora.safetensors"), {.model = tiny.path("model"), .scale = 0});
  CHECK(none.kept.empty());
}

}  // namespace
}  // namespace mflux
