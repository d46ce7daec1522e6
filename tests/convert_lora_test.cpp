// SPDX-License-Identifier: MIT
// A converted LoRA, baked, is the original, baked.
#include "mflux/convert_lora.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/kernels/convert.h"
#include "mflux/save.h"
#include "tests/folders.h"
#include "tests/lora/lora_files.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using lora::testing::LoraFile;
using lora::testing::Values;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::error_of;
using testing::TempDir;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;

const std::vector<std::string> kDialects = {"diffusers", "kohya", "comfyui"};

// Weights of a save with a LoRA, in full precision.
testing::FolderContents baked(const TinySave& tiny, const std::string& lora) {
  SaveOptions options = tiny.options("baked");
  options.bits = {};
  options.loras = {{.name = lora}};
  options.overwrite = true;
  save(options);
  testing::FolderContents contents = contents_of(options.output);
  contents.erase("bake.json");
  return contents;
}

lora::ConvertedFile convert(
    const TinySave& tiny, const std::string& lora, const std::string& dialect) {
  return convert_lora(
      {.lora = lora,
       .dialect = dialect,
       .output = tiny.path(dialect + ".safetensors"),
       .overwrite = true});
}

safetensors::Header header_of(const fs::path& file) {
  return safetensors::read_header(File::open(file));
}

std::set<std::string> modules_of(const fs::path& file, std::string_view ending) {
  std::set<std::string> modules;
  for (const auto& tensor : header_of(file).tensors) {
    if (!tensor.name.ends_with(ending)) continue;
    modules.insert(tensor.name.substr(0, tensor.name.size() - ending.size()));
  }
  return modules;
}

Values values_of(const fs::path& file, std::string_view key) {
  const MappedFile mapped(file);
  const safetensors::Header header = header_of(file);
  const safetensors::TensorInfo* info = header.find(key);
  REQUIRE(info != nullptr);
  Values values(info->spec.elements());
  kernels::to_float32(info->spec.dtype, mapped.bytes().subspan(info->offset, info->bytes), values);
  return values;
}

void check_all_dialects(const TinySave& tiny, const std::string& lora) {
  const auto expected = baked(tiny, lora);
  for (const std::string& dialect : kDialects) {
    CAPTURE(dialect);
    convert(tiny, lora, dialect);
    CHECK(differences(baked(tiny, tiny.path(dialect + ".safetensors")), expected).empty());
  }
}

TEST_CASE("a converted LoRA changes the same weights by the same, in both families") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    for (const TinyLora kind : {TinyLora::peft, TinyLora::kohya}) {
      const TinySave tiny(family);
      write_tiny_lora(tiny.path("lora.safetensors"), family, kind, TinySave::kSize);
      check_all_dialects(tiny, tiny.path("lora.safetensors"));
    }
  }
}

TEST_CASE("there and back again is the same file but for its metadata") {
  const TinySave tiny;
  write_tiny_lora(tiny.path("kohya.safetensors"), TinyFamily::flux, TinyLora::kohya, tiny.kSize);
  convert(tiny, tiny.path("kohya.safetensors"), "comfyui");
  convert(tiny, tiny.path("comfyui.safetensors"), "diffusers");
  fs::remove(tiny.path("comfyui.safetensors"));
  convert(tiny, tiny.path("diffusers.safetensors"), "comfyui");
  const fs::path back = tiny.path("kohya-again.safetensors");
  convert_lora({.lora = tiny.path("comfyui.safetensors"), .dialect = "kohya", .output = back});
  const safetensors::Header before = header_of(tiny.path("kohya.safetensors"));
  const safetensors::Header after = header_of(back);
  REQUIRE(before.tensors.size() == after.tensors.size());
  for (const auto& tensor : before.tensors) {
    CAPTURE(tensor.name);
    REQUIRE(after.find(tensor.name) != nullptr);
    CHECK(after.find(tensor.name)->spec.shape == tensor.spec.shape);
    CHECK(values_of(back, tensor.name) == values_of(tiny.path("kohya.safetensors"), tensor.name));
  }
}

TEST_CASE("each dialect has its names, endings and alphas") {
  const TinySave tiny;
  write_tiny_lora(tiny.path("lora.safetensors"), TinyFamily::flux, TinyLora::kohya, tiny.kSize);
  for (const std::string& dialect : kDialects)
    convert(tiny, tiny.path("lora.safetensors"), dialect);
  const auto kohya = modules_of(tiny.path("kohya.safetensors"), ".alpha");
  CHECK(kohya.contains("lora_unet_double_blocks_0_img_attn_qkv"));
  CHECK(kohya.contains("lora_te1_text_model_encoder_layers_0_mlp_fc1"));
  CHECK(modules_of(tiny.path("kohya.safetensors"), ".lora_down.weight") == kohya);
  const auto comfyui = modules_of(tiny.path("comfyui.safetensors"), ".lora_up.weight");
  CHECK(comfyui.contains("diffusion_model.single_blocks.0.linear1"));
  CHECK(comfyui.contains("text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"));
  const auto diffusers = modules_of(tiny.path("diffusers.safetensors"), ".lora_A.weight");
  CHECK(diffusers.contains("transformer.transformer_blocks.0.attn.add_k_proj"));
  CHECK(diffusers.contains("text_encoder.text_model.encoder.layers.0.mlp.fc1"));
  CHECK(modules_of(tiny.path("diffusers.safetensors"), ".alpha").empty());
  const auto metadata = header_of(tiny.path("diffusers.safetensors")).metadata;
  const auto json = nlohmann::json::parse(metadata.at("lora_adapter_metadata"));
  CHECK(json["transformer.r"] == 8);
  CHECK(json["transformer.lora_alpha"] == 4);
  CHECK(json["transformer.rank_pattern"].empty());
  CHECK(json["text_encoder.lora_alpha"] == 4);
  CHECK(metadata.at("format") == "pt");
}

LoraFile pair(const std::string& module, uint64_t rank, uint64_t outputs, uint64_t inputs = 64) {
  LoraFile file;
  file.add(module + ".lora_down.weight", {rank, inputs});
  file.add(module + ".lora_up.weight", {outputs, rank});
  return file;
}

void append(LoraFile& file, const LoraFile& more) {
  file.tensors.insert(file.tensors.end(), more.tensors.begin(), more.tensors.end());
}

TEST_CASE("parts of a fused layer with other ranks and alphas become one, absent ones stay") {
  const TinySave tiny;
  const std::string attn = "transformer.transformer_blocks.0.attn.";
  LoraFile file = pair(attn + "to_q", 2, 64);
  file.add_value(attn + "to_q.alpha", 1);
  append(file, pair(attn + "to_v", 3, 64));
  append(file, pair("transformer.single_transformer_blocks.0.attn.to_k", 2, 64));
  append(file, pair("transformer.norm_out.linear", 2, 128));
  const std::string lora = file.write(tiny.folder, "parts.safetensors").string();
  check_all_dialects(tiny, lora);
  const safetensors::Header header = header_of(tiny.path("kohya.safetensors"));
  const std::string qkv = "lora_unet_double_blocks_0_img_attn_qkv";
  CHECK(header.find(qkv + ".lora_down.weight")->spec.shape == Shape{5, 64});
  CHECK(header.find(qkv + ".lora_up.weight")->spec.shape == Shape{192, 5});
  CHECK(
      header.find("lora_unet_single_blocks_0_linear1.lora_up.weight")->spec.shape == Shape{448, 2});
  const Values up = values_of(tiny.path("kohya.safetensors"), qkv + ".lora_up.weight");
  CHECK(std::all_of(up.begin() + 64 * 5, up.begin() + 128 * 5, [](float v) { return v == 0; }));
  // Cut again, the zeros go.
  convert_lora(
      {.lora = tiny.path("kohya.safetensors"),
       .dialect = "diffusers",
       .output = tiny.path("cut.safetensors")});
  const safetensors::Header cut = header_of(tiny.path("cut.safetensors"));
  CHECK(cut.find(attn + "to_q.lora_A.weight")->spec.shape == Shape{2, 64});
  CHECK(cut.find(attn + "to_v.lora_A.weight")->spec.shape == Shape{3, 64});
  const auto json = nlohmann::json::parse(cut.metadata.at("lora_adapter_metadata"));
  CHECK(json["transformer.rank_pattern"].contains("transformer_blocks.0.attn.to_v"));
}

TEST_CASE("a scale that needs rounding makes B F32, with a note, and keeps the product") {
  const TinySave tiny;
  write_tiny_lora(tiny.path("lora.safetensors"), TinyFamily::flux, TinyLora::peft, tiny.kSize);
  // to_q at a third of the others.
  const std::string scaled = tiny.path("scaled.safetensors");
  const std::string attn = "transformer.transformer_blocks.0.attn.";
  const safetensors::Header header = header_of(tiny.path("lora.safetensors"));
  const MappedFile mapped(tiny.path("lora.safetensors"));
  std::vector<testing::TestTensor> tensors;
  for (const auto& info : header.tensors) {
    const auto bytes = mapped.bytes().subspan(info.offset, info.bytes);
    tensors.push_back({info.name, info.spec, {bytes.begin(), bytes.end()}});
  }
  tensors.push_back(testing::f32_tensor(attn + "to_q.alpha", {}, {8.0F / 3}));
  testing::write_safetensors(scaled, tensors, {});
  const lora::ConvertedFile done = convert(tiny, scaled, "kohya");
  REQUIRE(done.notes.size() == 1);
  CHECK(contains(done.notes.front(), "B is F32 now"));
  const safetensors::Header kohya = header_of(tiny.path("kohya.safetensors"));
  const std::string qkv = "lora_unet_double_blocks_0_img_attn_qkv";
  CHECK(kohya.find(qkv + ".lora_up.weight")->spec.dtype == Dtype::f32);
  CHECK(kohya.find(qkv + ".lora_down.weight")->spec.dtype == Dtype::bf16);
  CHECK(
      kohya.find("lora_unet_double_blocks_0_txt_attn_qkv.lora_up.weight")->spec.dtype ==
      Dtype::bf16);
  CHECK(differences(baked(tiny, tiny.path("kohya.safetensors")), baked(tiny, scaled)).empty());
}

TEST_CASE("a file stored transposed is written the usual way") {
  const TinySave tiny;
  LoraFile file;
  const std::string module = "transformer.transformer_blocks.0.ff.net.0.proj";
  file.add(module + ".lora_A.weight", {64, 2});
  file.add(module + ".lora_B.weight", {2, 256});
  const std::string lora = file.write(tiny.folder, "turned.safetensors").string();
  check_all_dialects(tiny, lora);
  CHECK(
      header_of(tiny.path("diffusers.safetensors")).find(module + ".lora_A.weight")->spec.shape ==
      Shape{2, 64});
}

TEST_CASE("biases and differences go where a dialect has words for them, else they are refused") {
  const TinySave tiny;
  const std::string proj = "transformer.transformer_blocks.0.ff.net.2";
  LoraFile file;
  file.add(proj + ".lora_A.weight", {2, 256});
  file.add(proj + ".lora_B.weight", {64, 2});
  file.add(proj + ".lora_B.bias", {64});
  file.add_value(proj + ".alpha", 1);
  const std::string lora = file.write(tiny.folder, "bias.safetensors").string();
  const auto expected = baked(tiny, lora);
  for (const std::string dialect : {"diffusers", "comfyui"}) {
    convert(tiny, lora, dialect);
    CHECK(differences(baked(tiny, tiny.path(dialect + ".safetensors")), expected).empty());
  }
  CHECK(contains(
      header_of(tiny.path("diffusers.safetensors")).metadata.at("lora_adapter_metadata"),
      "\"transformer.lora_bias\":true"));
  CHECK(contains(
      error_of([&] { convert(tiny, lora, "kohya"); }),
      "'" + proj + "' cannot be written as kohya: it has no key for the change of a bias"));

  LoraFile diff;
  diff.add("diffusion_model.double_blocks.0.img_attn.qkv.diff", {192, 64});
  diff.add("diffusion_model.double_blocks.0.img_attn.qkv.diff_b", {192});
  diff.add("diffusion_model.double_blocks.0.img_attn.norm.query_norm.diff", {64});
  const std::string diffs = diff.write(tiny.folder, "diff.safetensors").string();
  convert(tiny, diffs, "comfyui");
  CHECK(differences(baked(tiny, tiny.path("comfyui.safetensors")), baked(tiny, diffs)).empty());
  CHECK(contains(
      error_of([&] { convert(tiny, diffs, "diffusers"); }), "the difference of a whole weight"));
}

TEST_CASE("text encoders that a dialect's programs load no LoRA for are refused, or left out") {
  const TinySave tiny;
  LoraFile file = pair("lora_unet_double_blocks_0_img_attn_proj", 2, 64);
  const std::string t5 = "lora_te3_encoder_block_0_layer_0_SelfAttention_q";
  append(file, pair(t5, 2, 128, 128));
  const std::string lora = file.write(tiny.folder, "t5.safetensors").string();
  try {
    convert(tiny, lora, "diffusers");
    FAIL("not refused");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::lora);
    CHECK(contains(error.what(), "'" + t5 + "' cannot be written as diffusers"));
    CHECK(contains(error.what(), "--lora-block-scales text_encoder_2=0"));
  }
  CHECK_FALSE(fs::exists(tiny.path("diffusers.safetensors")));
  convert_lora(
      {.lora = lora,
       .dialect = "diffusers",
       .output = tiny.path("diffusers.safetensors"),
       .block_scales = "text_encoder_2=0"});
  CHECK(modules_of(tiny.path("diffusers.safetensors"), ".lora_A.weight").size() == 1);
  const auto expected = baked(tiny, lora);
  for (const std::string dialect : {"kohya", "comfyui"}) {
    convert(tiny, lora, dialect);
    CHECK(differences(baked(tiny, tiny.path(dialect + ".safetensors")), expected).empty());
  }
}

TEST_CASE("Qwen2.5-VL's layers are written in kohya's and ComfyUI's names") {
  const TinySave tiny(TinyFamily::qwen);
  LoraFile file = pair("text_encoder.model.language_model.layers.0.self_attn.q_proj", 2, 128, 128);
  append(file, pair("transformer.transformer_blocks.0.img_mod.1", 2, 384));
  const std::string lora = file.write(tiny.folder, "qwen.safetensors").string();
  const auto expected = baked(tiny, lora);
  for (const std::string dialect : {"kohya", "comfyui"}) {
    convert(tiny, lora, dialect);
    CHECK(differences(baked(tiny, tiny.path(dialect + ".safetensors")), expected).empty());
  }
  CHECK(modules_of(tiny.path("comfyui.safetensors"), ".alpha")
            .contains("text_encoders.qwen25_7b.transformer.model.layers.0.self_attn.q_proj"));
}

TEST_CASE("scales go into the file") {
  const TinySave tiny;
  const std::string lora = tiny.path("lora.safetensors");
  convert_lora(
      {.lora = lora,
       .dialect = "kohya",
       .output = tiny.path("half.safetensors"),
       .scale = 0.5,
       .block_scales = "single=0"});
  SaveOptions options = tiny.options("expected");
  options.bits = {};
  options.loras = {{.name = lora, .scale = 0.5, .block_scales = "single=0"}};
  save(options);
  auto expected = contents_of(options.output);
  expected.erase("bake.json");
  CHECK(differences(baked(tiny, tiny.path("half.safetensors")), expected).empty());
  CHECK(contains(
      error_of([&] {
        convert_lora(
            {.lora = lora,
             .dialect = "kohya",
             .output = tiny.path("none.safetensors"),
             .scale = 0});
      }),
      "nothing is left to write"));
}

TEST_CASE("what does not fit is not converted, and nothing is written or left behind") {
  const TinySave tiny;
  write_tiny_lora(tiny.path("bad.safetensors"), TinyFamily::flux, TinyLora::misfit, tiny.kSize);
  write_tiny_lora(tiny.path("kohya.safetensors"), TinyFamily::flux, TinyLora::kohya, tiny.kSize);
  const auto before = contents_of(tiny.folder.path());
  const auto refused = [&](ConvertOptions options, std::string_view part) {
    if (options.output.empty()) options.output = tiny.path("new.safetensors");
    const std::string error = error_of([&] { convert_lora(options); });
    CHECK_MESSAGE(contains(error, part), error);
  };
  refused({.lora = tiny.path("bad.safetensors"), .dialect = "comfyui"}, "2 problems");
  const std::string lora = tiny.path("lora.safetensors");
  refused({.lora = lora, .dialect = "sdxl"}, "'sdxl' is not diffusers, kohya or comfyui");
  refused({.lora = lora, .dialect = "kohya", .output = lora}, "is the file to be converted");
  refused(
      {.lora = lora, .dialect = "kohya", .output = tiny.path("kohya.safetensors")},
      "exists; --overwrite replaces it");
  refused({.lora = lora, .dialect = "kohya", .output = tiny.folder.path()}, "is a folder");
  refused(
      {.lora = lora, .dialect = "kohya", .output = tiny.folder / "no/where.safetensors"},
      "where.safetensors");
  LoraFile either = pair("transformer.transformer_blocks.0.attn.to_q", 2, 64);
  CHECK(differences(contents_of(tiny.folder.path()), before).empty());
  const std::string untold = either.write(tiny.folder, "either.safetensors").string();
  refused({.lora = untold, .dialect = "kohya"}, "give --base-model flux or qwen");
  convert_lora(
      {.lora = untold,
       .dialect = "kohya",
       .output = tiny.path("new.safetensors"),
       .base_model = "qwen"});
  CHECK(modules_of(tiny.path("new.safetensors"), ".alpha")
            .contains("lora_unet_transformer_blocks_0_attn_to_q"));
}

TEST_CASE("factors that cannot be cut or joined only change names, or are refused") {
  const TinySave tiny(TinyFamily::qwen);
  const std::string module = "lora_unet_transformer_blocks_0_img_mlp_net_2";
  LoraFile file;
  file.add(module + ".lokr_w1", {2, 2});
  file.add(module + ".lokr_w2_a", {32, 4});
  file.add(module + ".lokr_w2_b", {4, 128});
  file.add_value(module + ".alpha", 2);
  const std::string lora = file.write(tiny.folder, "lokr.safetensors").string();
  const auto expected = baked(tiny, lora);
  for (const std::string dialect : {"kohya", "comfyui"}) {
    convert(tiny, lora, dialect);
    CHECK(differences(baked(tiny, tiny.path(dialect + ".safetensors")), expected).empty());
  }
  CHECK(
      header_of(tiny.path("comfyui.safetensors"))
          .find("diffusion_model.transformer_blocks.0.img_mlp.net.2.lokr_w1") != nullptr);
  CHECK(contains(
      error_of([&] { convert(tiny, lora, "diffusers"); }),
      "'" + module + "' cannot be written as diffusers: it has no key for"));
  CHECK(contains(
      error_of([&] {
        convert_lora(
            {.lora = lora,
             .dialect = "kohya",
             .output = tiny.path("half.safetensors"),
             .scale = 0.5});
      }),
      "its algorithm takes no scale into a file"));

  const TinySave flux;
  LoraFile split;
  split.add("transformer.single_transformer_blocks.0.attn.to_q.lokr_w1", {2, 2});
  split.add("transformer.single_transformer_blocks.0.attn.to_q.lokr_w2", {32, 32});
  const std::string parts = split.write(flux.folder, "split.safetensors").string();
  CHECK(contains(
      error_of([&] { convert(flux, parts, "comfyui"); }), "it fuses or splits this layer"));
}

}  // namespace
}  // namespace mflux
