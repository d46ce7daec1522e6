// SPDX-License-Identifier: MIT
#include "mflux/lora/survey.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/contents.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::contains;
using testing::LoraFile;
using testing::TempDir;

Survey survey_of(const LoraFile& file) {
  const TempDir folder;
  return survey(file.write(folder), models::lora_families());
}

const std::string kQkv = "lora_unet_double_blocks_0_img_attn_qkv";
const std::string kClip = "lora_te1_text_model_encoder_layers_0_mlp_fc1";

TEST_CASE("a kohya file is read without a model") {
  LoraFile file;
  file.add(kQkv + ".lora_down.weight", {4, 64});
  file.add(kQkv + ".lora_up.weight", {192, 4});
  file.add_value(kQkv + ".alpha", 2);
  file.add(kClip + ".lora_down.weight", {8, 768});
  file.add(kClip + ".lora_up.weight", {3072, 8});
  file.metadata["ss_base_model_version"] = "flux1";
  const Survey found = survey_of(file);
  CHECK(found.problems.empty());
  CHECK(found.dialect == "kohya");
  CHECK(found.made_for.name == "flux");
  CHECK(found.made_for.by_metadata);
  CHECK(found.keys == std::map<std::string, size_t>{{"A", 2}, {"B", 2}, {"alpha", 1}});
  CHECK(found.tensors.size() == 5);
  REQUIRE(found.modules.size() == 2);
  const SurveyedModule& qkv = found.modules[0];
  CHECK(qkv.name == kQkv);
  CHECK(qkv.component == "transformer");
  CHECK(qkv.layer == "double_blocks_0_img_attn_qkv");
  CHECK(qkv.algorithm == "LoRA");
  CHECK(qkv.rank == 4);
  CHECK(qkv.alpha == 2);
  CHECK(alpha_source_name(qkv.alpha_source) == "tensor");
  CHECK(found.modules[1].component == "text_encoder");
  CHECK(found.modules[1].rank == 8);
  CHECK(alpha_source_name(found.modules[1].alpha_source) == "none");
}

TEST_CASE("dialect and family follow from the names alone") {
  const struct {
    std::string module;
    std::string ending;
    std::string dialect;
    std::string family;
  } kCases[] = {
      {"transformer.single_transformer_blocks.0.proj_mlp", ".lora_A.weight", "diffusers", "flux"},
      {"diffusion_model.transformer_blocks.0.img_mod.1", ".lora_A.weight", "ComfyUI", "qwen"},
      {"base_model.model.double_blocks.0.img_mlp.0", ".lora_A.weight", "PEFT", "flux"},
      {"double_blocks.0.processor.qkv_lora1", ".down.weight", "XLabs", "flux"},
      {"transformer.transformer_blocks.0.attn.to_q", ".lora_A.weight", "diffusers", ""},
      {"lora_te1_text_model_x", ".lora_down.weight", "text encoder", ""},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.module);
    LoraFile file;
    file.add(c.module + c.ending, {2, 64});
    const Survey found = survey_of(file);
    CHECK(found.dialect == c.dialect);
    CHECK(found.made_for.name == c.family);
    CHECK_FALSE(found.made_for.by_metadata);
  }
}

TEST_CASE("what needs no model to be wrong is found without one") {
  using mflux::testing::TestTensor;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto raw = [](const std::string& ending, const TensorSpec& spec) {
    return TestTensor{kQkv + ending, spec, std::vector<std::byte>(spec.bytes())};
  };
  const TestTensor nan_tensor = mflux::testing::f32_tensor("x.diff", {2}, {1, nan});
  const struct {
    std::string kind;
    std::vector<TestTensor> tensors;
    safetensors::Metadata metadata;
  } kCases[] = {
      {"empty", {}, {}},
      {"unknown-key", {raw(".lora_C", {Dtype::f32, {1}})}, {}},
      {"incomplete", {raw(".lora_up.weight", {Dtype::f32, {192, 4}})}, {}},
      {"incomplete", {raw(".lokr_w1", {Dtype::f32, {4, 4}})}, {}},
      {"rank-mismatch",
       {raw(".lora_down.weight", {Dtype::f32, {4, 64}}),
        raw(".lora_up.weight", {Dtype::f32, {192, 5}})},
       {}},
      {"non-finite", {nan_tensor}, {}},
      {"bad-dtype", {raw(".diff", {Dtype::i32, {1}})}, {}},
      {"empty-tensor", {raw(".diff", {Dtype::f32, {0}})}, {}},
      {"bad-metadata", {raw(".diff", {Dtype::f32, {2}})}, {{"lora_adapter_metadata", "{"}}},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.kind);
    const Survey found = survey_of({c.tensors, c.metadata});
    REQUIRE(found.problems.size() == 1);
    CHECK(problem_name(found.problems.front().kind) == c.kind);
  }
}

TEST_CASE("transposed matrices are seen by their ranks") {
  LoraFile file;
  file.add(kQkv + ".lora_down.weight", {64, 4});
  file.add(kQkv + ".lora_up.weight", {4, 192});
  const Survey found = survey_of(file);
  CHECK(found.transposed);
  CHECK(found.problems.empty());
  CHECK(found.modules.front().rank == 4);
}

TEST_CASE("a model's tensors do not look like a LoRA, nor do a LoRA's like a model") {
  const auto header = [](const std::vector<std::string>& names) {
    safetensors::Header result;
    for (const std::string& name : names) result.tensors.push_back({name, {Dtype::f32, {1}}, 0, 4});
    return result;
  };
  CHECK(looks_like_lora(header({"x.lora_A.weight", "x.lora_B.weight"})));
  CHECK(looks_like_lora(header({"x.lora_down.weight", "x.lora_up.weight", "x.alpha"})));
  CHECK(looks_like_lora(header({"x.lora_A.weight", "x.lora_B.weight", "n.scale"})));  // BFL
  CHECK(looks_like_lora(header({"x.hada_w1_a"})));
  CHECK(looks_like_lora(header({"x.set_weight", "x.diff_b"})));
  CHECK_FALSE(looks_like_lora(header({})));
  CHECK_FALSE(looks_like_lora(header({"img_in.weight", "img_in.bias", "norm.query_norm.scale"})));
  CHECK_FALSE(looks_like_lora(header({"x.weight", "x.scales", "x.biases"})));
  // A model into which a LoRA leaked is a model.
  CHECK_FALSE(looks_like_lora(
      header({"x.weight", "x.bias", "y.weight", "y.bias", "z.weight", "x.lora_A", "x.lora_B"})));
}

}  // namespace
}  // namespace mflux::lora
