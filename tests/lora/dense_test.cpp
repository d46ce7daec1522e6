// SPDX-License-Identifier: MIT
// Whole differences: of matrices, of biases, of norms.
#include <string>

#include <doctest/doctest.h>

#include "mflux/lora/load.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::contains;
using testing::delta;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::numbers;
using testing::only_problem;
using testing::product;
using testing::qwen;
using testing::require_clean;
using testing::Values;

std::vector<double> times(const Values& values, double scale, size_t begin, size_t count) {
  std::vector<double> result;
  for (size_t i = begin; i < begin + count; ++i) {
    result.push_back(scale * static_cast<double>(values[i]));
  }
  return result;
}

std::vector<double> times(const Values& values, double scale) {
  return times(values, scale, 0, values.size());
}

TEST_CASE("a difference of a matrix is added, times the user's scale") {
  for (const std::string key :
       {"diffusion_model.double_blocks.0.img_mlp.0.diff",
        "diffusion_model.double_blocks.0.img_mlp.0.weight.diff",
        "transformer.transformer_blocks.0.ff.net.0.proj.lora_A.weight"}) {  // full rank
    CAPTURE(key);
    LoraFile file;
    const Values values = file.add(key, {192, 64});
    const Loaded loaded = load_file(file, flux(), 0.5);
    require_clean(loaded);
    const bool exact =
        delta(loaded, flux(), "transformer/transformer_blocks.0.ff.net.0.proj.weight") ==
        times(values, 0.5);
    CHECK(exact);
  }
}

TEST_CASE("differences of fused layers are cut like their weights") {
  LoraFile file;
  const Values weight = file.add("diffusion_model.double_blocks.1.img_attn.qkv.diff", {192, 64});
  const Values bias = file.add("diffusion_model.double_blocks.1.img_attn.qkv.diff_b", {192});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  const std::string attn = "transformer/transformer_blocks.1.attn.";
  uint64_t row = 0;
  for (const std::string part : {"to_q", "to_k", "to_v"}) {
    CAPTURE(part);
    const bool exact =
        delta(loaded, flux(), attn + part + ".weight") == times(weight, 1, row * 64, 64 * 64) &&
        delta(loaded, flux(), attn + part + ".bias") == times(bias, 1, row, 64);
    CHECK(exact);
    row += 64;
  }
}

TEST_CASE("the halves of a swapped layer's bias are swapped too") {
  LoraFile file;
  const Values bias = file.add("diffusion_model.final_layer.adaLN_modulation.1.diff_b", {128});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  std::vector<double> expected = times(bias, 1, 64, 64);
  const std::vector<double> second = times(bias, 1, 0, 64);
  expected.insert(expected.end(), second.begin(), second.end());
  const bool exact = delta(loaded, flux(), "transformer/norm_out.linear.bias") == expected;
  CHECK(exact);
}

TEST_CASE("of a norm every element is a row") {
  const struct {
    const BaseModel* model;
    std::string key;
    std::string tensor;
    uint64_t length;
  } kCases[] = {
      {&flux(),
       "diffusion_model.double_blocks.0.img_attn.norm.query_norm.scale.diff",
       "transformer/transformer_blocks.0.attn.norm_q.weight",
       16},
      {&flux(),
       "lycoris_transformer_blocks_0_attn_norm_q.w_norm",
       "transformer/transformer_blocks.0.attn.norm_q.weight",
       16},
      {&flux(),
       "text_encoders.clip_l.transformer.text_model.encoder.layers.0.layer_norm1.diff",
       "text_encoder/text_model.encoder.layers.0.layer_norm1.weight",
       768},
      {&qwen(), "diffusion_model.txt_norm.diff", "transformer/txt_norm.weight", 48},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.key);
    LoraFile file;
    const Values values = file.add(c.key, {c.length});
    const Loaded loaded = load_file(file, *c.model);
    require_clean(loaded);
    const Update& update = loaded.adapters.front().updates.front();
    const auto& dense = dynamic_cast<const Dense&>(*update.change);
    CHECK(update.target.outputs == c.length);
    CHECK(update.target.inputs == 1);
    CHECK(dense.value.rows == c.length);
    CHECK(dense.value.columns == 1);
    const auto list = contributions(loaded).at(c.tensor);
    REQUIRE(list.size() == 1);
    CHECK(list.front().begin == 0);
    CHECK(list.front().count == c.length);
    const bool exact = delta(loaded, *c.model, c.tensor) == times(values, 1);
    CHECK(exact);
  }
}

TEST_CASE("B's bias is scaled like the pair and goes to the layer's bias") {
  LoraFile file;
  const std::string module = "transformer.transformer_blocks.0.attn.to_q";
  const Values down = file.add(module + ".lora_A.weight", {2, 64});
  const Values up = file.add(module + ".lora_B.weight", {64, 2});
  const Values bias = file.add(module + ".lora_B.bias", {64});
  file.add_value(module + ".alpha", 1);
  const Loaded loaded = load_file(file, flux(), 3);
  require_clean(loaded);
  const std::string layer = "transformer/transformer_blocks.0.attn.to_q.";
  const bool exact = delta(loaded, flux(), layer + "weight") == product(up, down, 2, 1.5) &&
                     delta(loaded, flux(), layer + "bias") == times(bias, 1.5);
  CHECK(exact);
  for (const KeyRecord& key : loaded.adapters.front().keys) {
    CHECK(key.used);
    const bool is_bias = key.key.ends_with(".bias");
    CHECK(key.tensors.front() == (is_bias ? layer + "bias" : layer + "weight"));
  }
}

TEST_CASE("one module may have a pair and differences") {
  LoraFile file;
  const std::string module = "diffusion_model.double_blocks.0.img_mlp.2";
  const Values down = file.add(module + ".lora_down.weight", {2, 192});
  const Values up = file.add(module + ".lora_up.weight", {64, 2});
  const Values weight = file.add(module + ".diff", {64, 192});
  const Values bias = file.add(module + ".diff_b", {64});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  std::vector<double> expected = product(up, down, 2);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(weight[i]);
  const std::string layer = "transformer/transformer_blocks.0.ff.net.2.";
  const bool exact = delta(loaded, flux(), layer + "weight") == expected &&
                     delta(loaded, flux(), layer + "bias") == times(bias, 1);
  CHECK(exact);
}

TEST_CASE("a difference of another shape is refused with both shapes") {
  const struct {
    std::string key;
    Shape shape;
    std::string message;
  } kCases[] = {
      {"diffusion_model.double_blocks.0.img_mlp.0.diff",
       {64, 192},
       "the LoRA gives 64 x 192, the layer is 192 x 64"},
      {"diffusion_model.double_blocks.0.img_mlp.0.diff_b",
       {64},
       "the LoRA gives 64, the layer is 192"},
      {"diffusion_model.double_blocks.0.img_attn.norm.query_norm.scale.diff",
       {1, 16},
       "the LoRA gives 1 x 16, the layer is 16"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.key);
    LoraFile file;
    file.add(c.key, c.shape);
    const Problem problem = only_problem(load_file(file, flux()));
    CHECK(problem_name(problem.kind) == "shape-mismatch");
    CHECK_MESSAGE(contains(problem.message, c.message), problem.message);
  }
}

}  // namespace
}  // namespace mflux::lora
