// SPDX-License-Identifier: MIT
#include "mflux/lora/block_scales.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::contains;
using testing::delta;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::qwen;
using testing::require_clean;
using testing::TempDir;

const Target& target(const BaseModel& model, std::string_view component, std::string_view alias) {
  const auto found = std::ranges::find_if(model.targets, [&](const Target& candidate) {
    return candidate.component == component && candidate.alias == alias;
  });
  REQUIRE(found != model.targets.end());
  return *found;
}

double factor(
    std::string_view text,
    std::string_view alias,
    const BaseModel& model = flux(),
    std::string_view component = "transformer") {
  return BlockScales(text, model).of(target(model, component, alias));
}

Loaded load_scaled(const LoraFile& file, const std::string& block_scales, double scale = 1) {
  const TempDir folder;
  const LoraSpec spec{.file = file.write(folder), .scale = scale, .block_scales = block_scales};
  return load({&spec, 1}, flux());
}

LoraFile pair(const std::string& module, uint64_t outputs, uint64_t inputs = 64) {
  LoraFile file;
  file.add(module + ".lora_down.weight", {2, inputs});
  file.add(module + ".lora_up.weight", {outputs, 2});
  return file;
}

TEST_CASE("a list of blocks is meant by any of its names, whole or begun") {
  for (const std::string name :
       {"double", "double_blocks", "transformer_blocks", "transformer/double", "double:*"}) {
    CAPTURE(name);
    CHECK(factor(name + "=0.5", "transformer_blocks.1.attn.to_q") == 0.5);
    CHECK(factor(name + "=0.5", "double_blocks.0.img_attn.qkv") == 0.5);
    CHECK(factor(name + "=0.5", "single_blocks.0.linear1") == 1);
    CHECK(factor(name + "=0.5", "x_embedder") == 1);
  }
  CHECK(factor("single=2", "single_transformer_blocks.0.proj_mlp") == 2);
  CHECK(factor("single_transformer_blocks=2", "single_blocks.0.linear1") == 2);
  CHECK(factor("transformer_blocks=3", "transformer_blocks.1.img_mod.1", qwen()) == 3);
  CHECK(
      factor("t5_blocks=3", "encoder.block.7.layer.0.SelfAttention.q", flux(), "text_encoder_2") ==
      3);
}

TEST_CASE("numbers after the colon choose blocks") {
  CHECK(factor("double:0=0.5", "transformer_blocks.0.ff.net.2") == 0.5);
  CHECK(factor("double:0=0.5", "transformer_blocks.1.ff.net.2") == 1);
  CHECK(factor("double:0-1=0.5", "transformer_blocks.1.ff.net.2") == 0.5);
  const std::string_view layer = "text_model.encoder.layers.11.mlp.fc1";
  CHECK(factor("text_encoder/layers:9-11=0", layer, flux(), "text_encoder") == 0);
  CHECK(factor("layers:11=-0.5", layer, flux(), "text_encoder") == -0.5);
}

TEST_CASE("a component, a layer outside the blocks and everything can be meant") {
  const std::string_view clip = "text_model.encoder.layers.0.mlp.fc1";
  CHECK(factor("text_encoder=0", clip, flux(), "text_encoder") == 0);
  CHECK(factor("text_encoder=0", "proj_out") == 1);
  CHECK(factor("transformer=0.5", clip, flux(), "text_encoder") == 1);
  CHECK(factor("transformer=0.5", "x_embedder") == 0.5);
  CHECK(factor("proj_out=0.25", "proj_out") == 0.25);
  CHECK(factor("final_layer.linear=0.25", "proj_out") == 0.25);
  CHECK(factor("proj_out=0.25", "single_transformer_blocks.0.proj_out") == 1);
  CHECK(factor("*=0.25", "proj_out") == 0.25);
  CHECK(factor("*=0.25", clip, flux(), "text_encoder") == 0.25);
  CHECK(factor("text_encoder/*=0.25", "proj_out") == 1);
  CHECK(factor("", "proj_out") == 1);
}

TEST_CASE("of several parts that hold a layer the last counts") {
  CHECK(factor("*=0.5,double:1=2", "transformer_blocks.1.ff.net.2") == 2);
  CHECK(factor("*=0.5,double:1=2", "transformer_blocks.0.ff.net.2") == 0.5);
  CHECK(factor("double:1=2,*=0.5", "transformer_blocks.1.ff.net.2") == 0.5);
}

TEST_CASE("a part that is malformed or means nothing is wrong usage, and named") {
  const struct {
    const char* text;
    const char* part;
    const char* why;
  } kCases[] = {
      {"double", "'double'", "is not PART=SCALE"},
      {"=1", "'=1'", "is not PART=SCALE"},
      {"double=0.5,,single=1", "''", "is not PART=SCALE"},
      {"double=0.5,", "--lora-block-scales", "nothing follows the last comma"},
      {"double=half", "'double=half'", "does not end with a number"},
      {"double=nan", "'double=nan'", "does not end with a number"},
      {"double=inf", "'double=inf'", "does not end with a number"},
      {"double:a=1", "'double:a=1'", "a number or FIRST-LAST"},
      {"double:5-1=1", "'double:5-1=1'", "a number or FIRST-LAST"},
      {"double:=1", "'double:=1'", "a number or FIRST-LAST"},
      {"double:2=1", "'double:2=1'", "there are 0-1"},
      {"double:0-18=1", "'double:0-18=1'", "there are 0-1"},
      {"transformer:0=1", "'transformer:0=1'", "without a list of blocks"},
      {"tripel=1", "'tripel=1'", "transformer/single_transformer_blocks:0-1"},
      {"proj_out:0=1", "'proj_out:0=1'", "means nothing in FLUX.1"},
      {"doub=1", "'doub=1'", "means nothing in FLUX.1"},
      {"text_encoder_3/layers=1", "'text_encoder_3/layers=1'", "text_encoder_2"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.text);
    try {
      BlockScales(c.text, flux());
      FAIL("not refused");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      CHECK_MESSAGE(contains(error.what(), c.part), error.what());
      CHECK_MESSAGE(contains(error.what(), c.why), error.what());
    }
  }
}

TEST_CASE("the factor of a block multiplies the scale of the LoRA") {
  LoraFile file = pair("lora_unet_double_blocks_0_img_attn_proj", 64);
  const LoraFile other = pair("lora_unet_single_blocks_1_linear2", 64, 256);
  file.tensors.insert(file.tensors.end(), other.tensors.begin(), other.tensors.end());
  const Loaded whole = load_scaled(file, "", 0.5);
  const Loaded scaled = load_scaled(file, "double=3", 0.5);
  require_clean(scaled);
  CHECK(scaled.adapters.front().scale == 0.5);
  CHECK(scaled.adapters.front().block_scales == "double=3");
  const std::string doubled = "transformer/transformer_blocks.0.attn.to_out.0.weight";
  const std::string single = "transformer/single_transformer_blocks.1.proj_out.weight";
  std::vector<double> expected = delta(whole, flux(), doubled);
  for (double& value : expected) value *= 3;
  CHECK(delta(scaled, flux(), doubled) == expected);
  CHECK(delta(scaled, flux(), single) == delta(whole, flux(), single));
  for (const KeyRecord& key : scaled.adapters.front().keys) {
    CHECK(key.block_scale == (contains(key.key, "double") ? 3 : 1));
  }
}

TEST_CASE("a part that a LoRA has nothing for is told") {
  const Loaded loaded =
      load_scaled(pair("lora_unet_double_blocks_0_img_attn_proj", 64), "double=2,text_encoder=0");
  require_clean(loaded);
  const auto tells = [](const std::string& note) {
    return contains(note, "has nothing that 'text_encoder=0' could scale");
  };
  CHECK(std::ranges::count_if(loaded.notes, tells) == 1);
  CHECK(std::ranges::none_of(
      loaded.notes, [](const std::string& note) { return contains(note, "'double=2'"); }));
}

TEST_CASE("a component of scale 0 need not be written") {
  BaseModel model = flux();
  model.components["text_encoder"].clear();
  std::erase_if(model.targets, [](const Target& t) { return t.component == "text_encoder"; });
  LoraFile file = pair("lora_unet_double_blocks_0_img_attn_proj", 64);
  file.add("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", {2, 768});
  file.add("lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", {3072, 2});
  const TempDir folder;
  LoraSpec spec{.file = file.write(folder)};
  CHECK(load({&spec, 1}, model).problems.front().kind == ProblemKind::component_absent);
  spec.block_scales = "text_encoder=0.5";
  CHECK(load({&spec, 1}, model).problems.size() == 1);
  spec.block_scales = "text_encoder=0";
  const Loaded loaded = load({&spec, 1}, model);
  require_clean(loaded);
  size_t left_out = 0;
  for (const KeyRecord& key : loaded.adapters.front().keys) {
    left_out += key.reason == "text_encoder has the scale 0" ? 1U : 0U;
  }
  CHECK(left_out == 2);
}

}  // namespace
}  // namespace mflux::lora
