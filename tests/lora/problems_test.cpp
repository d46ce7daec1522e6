// SPDX-License-Identifier: MIT
// Every kind of problem, provoked by a file that has it and nothing else.
#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/load.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using mflux::testing::error_of;
using mflux::testing::write_file;
using testing::bytes_of;
using testing::contains;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::only_problem;
using testing::qwen;
using testing::TempDir;
using testing::Values;

const std::string kFf = "transformer.transformer_blocks.0.ff.net.0.proj";
const std::string kSingle = "transformer.single_transformer_blocks.0.proj_mlp";

void add_pair(LoraFile& file, const std::string& module, uint64_t outputs, uint64_t inputs) {
  file.add(module + ".lora_A.weight", {2, inputs});
  file.add(module + ".lora_B.weight", {outputs, 2});
}

LoraFile good_file() {
  LoraFile file;
  add_pair(file, kFf, 192, 64);
  return file;
}

void replace_value(LoraFile& file, float value) {
  auto& data = file.tensors.front().data;
  std::memcpy(data.data() + data.size() - sizeof(float), &value, sizeof(float));
}

using Change = std::function<void(LoraFile&)>;

struct Bad {
  std::string kind;
  std::string message;  // part of it
  Change change;        // of a file that is good
};

std::vector<Bad> bad_keys() {
  return {
      {"unknown-key",
       "'x.lora_C' is not a known key of a LoRA",
       [](LoraFile& f) { f.add("x.lora_C", {1}); }},
      {"unknown-key",
       "the layer transformer_blocks.0.attn.to_q is known, the ending '.lora_C' is not",
       [](LoraFile& f) { f.add("transformer.transformer_blocks.0.attn.to_q.lora_C", {1}); }},
      {"unknown-key",
       "nearest known name: ",
       [](LoraFile& f) { f.add("transformer_blocks.0.attn.to_qq.lora_C", {1}); }},
      {"unknown-key", "T-LoRA", [](LoraFile& f) { f.add(kSingle + ".lambda_layer", {1}); }},
      {"unknown-module",
       "nearest known name: transformer_blocks.0.attn.to_q",
       [](LoraFile& f) { add_pair(f, "transformer.transformer_blocks.0.attn.to_qq", 64, 64); }},
      {"unknown-module",
       "block 7 does not exist: the model has 2",
       [](LoraFile& f) { add_pair(f, "transformer.transformer_blocks.7.attn.to_q", 64, 64); }},
      {"unknown-module",
       "looks like a LoRA for Stable Diffusion or SDXL",
       [](LoraFile& f) { add_pair(f, "lora_unet_down_blocks_0_attentions_0_proj_in", 64, 64); }},
      {"unknown-module",
       "FLUX.1 has no component text_encoder_3",
       [](LoraFile& f) { add_pair(f, "text_encoder_3.encoder.block.0.x", 64, 64); }},
      {"incomplete",
       "the matrix B (lora_B, lora_up) is missing",
       [](LoraFile& f) { f.add(kSingle + ".lora_A.weight", {2, 64}); }},
      {"incomplete",
       "the matrix A (lora_A, lora_down) is missing",
       [](LoraFile& f) { f.add(kSingle + ".lora_B.weight", {192, 2}); }},
      {"incomplete",
       "the matrices A and B are missing",
       [](LoraFile& f) { f.add_value(kSingle + ".alpha", 1); }},
      {"incomplete",
       "a magnitude needs matrices",
       [](LoraFile& f) { f.add(kSingle + ".dora_scale", {192, 1}); }},
      {"incomplete",
       "OFT's blocks are missing",
       [](LoraFile& f) { f.add(kSingle + ".rescale", {192, 1}); }},
      {"duplicate",
       "two values for one thing",
       [](LoraFile& f) {
         add_pair(f, kSingle, 192, 64);
         f.add(kSingle + ".lora_down.weight", {2, 64});
       }},
  };
}

// Shapes and sets of tensors that an algorithm cannot have. kSingle is (192, 64).
std::vector<Bad> bad_algorithms() {
  struct Tensor {
    std::string ending;
    Shape shape;
  };
  const auto with = [](std::vector<Tensor> tensors) {
    return [tensors](LoraFile& f) {
      for (const Tensor& tensor : tensors) f.add(kSingle + tensor.ending, tensor.shape);
    };
  };
  const std::vector<Tensor> loha = {
      {".hada_w1_a", {192, 2}},
      {".hada_w1_b", {2, 64}},
      {".hada_w2_a", {192, 2}},
      {".hada_w2_b", {2, 64}}};
  const std::vector<Tensor> pair = {{".lora_A.weight", {2, 64}}, {".lora_B.weight", {192, 2}}};
  const auto plus = [](std::vector<Tensor> tensors, Tensor more) {
    tensors.push_back(std::move(more));
    return tensors;
  };
  return {
      {"incomplete", "LoHa needs hada_w1_a", with({{".hada_w1_a", {192, 2}}})},
      {"incomplete", "LoHa needs", with(plus(loha, {".hada_t1", {2, 2}}))},
      {"incomplete", "is not part of LoHa", with(plus(loha, {".rescale", {192}}))},
      {"shape-mismatch",
       "make (64, 192), the layer is 192 x 64",
       with(
           {{".hada_w1_a", {64, 2}},
            {".hada_w1_b", {2, 192}},
            {".hada_w2_a", {64, 2}},
            {".hada_w2_b", {2, 192}}})},
      {"rank-mismatch",
       "have no common rank",
       with(
           {{".hada_w1_a", {192, 3}},
            {".hada_w1_b", {2, 64}},
            {".hada_w2_a", {192, 2}},
            {".hada_w2_b", {2, 64}}})},
      {"incomplete", "LoKr needs", with({{".lokr_w1", {4, 4}}, {".lokr_w2_a", {48, 2}}})},
      {"incomplete",
       "LoKr needs",
       with({{".lokr_w1", {4, 4}}, {".lokr_w1_a", {4, 2}}, {".lokr_w2", {48, 16}}})},
      {"shape-mismatch",
       "LoKr's (4, 4) (x) (16, 48) make (64, 192), the layer is 192 x 64",
       with({{".lokr_w1", {4, 4}}, {".lokr_w2", {16, 48}}})},
      {"rank-mismatch",
       "have no common rank",
       with({{".lokr_w1", {4, 4}}, {".lokr_w2_a", {48, 2}}, {".lokr_w2_b", {3, 16}}})},
      {"rank-mismatch", "do not multiply", with(plus(pair, {".lora_mid.weight", {3, 2}}))},
      {"shape-mismatch",
       "a magnitude per output ((192) or (192, 1)) or per input ((1, 64))",
       with(plus(pair, {".dora_scale", {64, 1}}))},
      {"shape-mismatch",
       "expected (count, size, size) with count * size = 192",
       with({{".oft_blocks", {32, 2, 2}}})},
      {"shape-mismatch", "stages that divide 192 rows", with({{".oft_blocks", {8, 96, 2, 2}}})},
      {"incomplete",
       "kohya's OFT needs an alpha and oft_blocks.0, .1, ... for 192 rows, these are for 64",
       with({{".oft_blocks.0", {32, 2, 2}}, {".alpha", {}}})},
      {"incomplete", "kohya's OFT needs an alpha", with({{".oft_blocks.0", {96, 2, 2}}})},
      {"duplicate",
       "several oft_blocks",
       with({{".oft_blocks", {96, 2, 2}}, {".oft_blocks.x", {96, 2, 2}}})},
      {"shape-mismatch", "with count * size = 64", with({{".oft_R.weight", {16, 5}}})},
      {"incomplete", "is not part of OFT", with({{".oft_R.weight", {16, 6}}, {".alpha", {}}})},
      {"incomplete", "OFT of inputs needs oft_R", with({{".oft_R.scaled_oft", {}}})},
      {"incomplete", "GLoRA needs a1", with({{".a1.weight", {64, 2}}})},
      {"unsupported",
       "the core of a convolution",
       with(
           {{".a1.weight", {64, 2}},
            {".a2.weight", {2, 64}},
            {".b1.weight", {192, 2}},
            {".b2.weight", {2, 64}},
            {".bm.weight", {2, 2}}})},
      {"shape-mismatch",
       "fit the layer, 192 x 64 (transformer/single_transformer_blocks.0.proj_mlp.weight), in "
       "neither",
       with(
           {{".a1.weight", {2, 2}},
            {".a2.weight", {2, 2}},
            {".b1.weight", {2, 2}},
            {".b2.weight", {2, 2}}})},
      {"incomplete", "IA3 needs weight and on_input", with({{".on_input", {}}})},
      {"bad-dtype",
       "is neither 0 (outputs) nor 1 (inputs)",
       [](LoraFile& f) {
         f.add(kSingle + ".weight", {192});
         f.add_value(kSingle + ".on_input", 2);
       }},
      {"shape-mismatch",
       "expected (64)",
       [](LoraFile& f) {
         f.add(kSingle + ".weight", {192});
         f.add_value(kSingle + ".on_input", 1);
       }},
      {"shape-mismatch",
       "the LoRA gives 2 x 2, the layer is 192 x 64",
       with({{".set_weight", {2, 2}}})},
      {"shape-mismatch", "the LoRA gives 2, the layer is 192", with({{".bias", {2}}})},
      {"unsupported", "is one number", with(plus(pair, {".scale", {}}))},
      {"no-bias",
       "has none",
       [](LoraFile& f) { f.add("transformer.transformer_blocks.0.attn.norm_q.bias", {16}); }},
      {"unsupported",
       "widening the model's input from 64 to 128 columns",
       [](LoraFile& f) { add_pair(f, "transformer.x_embedder", 64, 128); }},
      {"unsupported",
       "widening the model's input from 64 to 128 columns",
       [](LoraFile& f) {
         add_pair(f, "transformer.x_embedder", 64, 64);
         f.tensors.push_back(
             mflux::testing::f32_tensor("transformer.x_embedder.reshape_weight", {2}, {64, 128}));
       }},
      {"shape-mismatch",
       "asks for a weight of (3, 3)",
       [](LoraFile& f) {
         add_pair(f, kSingle, 192, 64);
         f.tensors.push_back(mflux::testing::f32_tensor(kSingle + ".reshape_weight", {2}, {3, 3}));
       }},
      {"shape-mismatch", "expected two numbers", with(plus(pair, {".reshape_weight", {3}}))},
  };
}

std::vector<Bad> bad_tensors() {
  return {
      {"rank-mismatch",
       "A (2, 64) has rank 2, B (192, 3) has rank 3; the layer is 192 x 64",
       [](LoraFile& f) {
         f.add(kSingle + ".lora_A.weight", {2, 64});
         f.add(kSingle + ".lora_B.weight", {192, 3});
       }},
      {"shape-mismatch",
       "the LoRA gives 64 x 192, the layer is 192 x 64",
       [](LoraFile& f) { add_pair(f, kSingle, 64, 192); }},
      {"shape-mismatch",
       "are not matrices",
       [](LoraFile& f) {
         f.add(kSingle + ".lora_A.weight", {2, 64, 3});
         f.add(kSingle + ".lora_B.weight", {192, 2});
       }},
      {"shape-mismatch",
       "it was made for FLUX.1-Fill, whose input is wider",
       [](LoraFile& f) { add_pair(f, "transformer.x_embedder", 64, 384); }},
      {"no-bias",
       "has none",
       [](LoraFile& f) { f.add("transformer.transformer_blocks.0.attn.norm_q.diff_b", {16}); }},
      {"non-finite",
       "holds values that are not finite",
       [](LoraFile& f) { replace_value(f, std::numeric_limits<float>::quiet_NaN()); }},
      {"non-finite",
       "holds values that are not finite",
       [](LoraFile& f) { replace_value(f, -std::numeric_limits<float>::infinity()); }},
      {"non-finite",
       "expected a finite number",
       [](LoraFile& f) { f.add_value(kFf + ".alpha", std::numeric_limits<float>::infinity()); }},
      {"non-finite",
       "holds values that are not finite",
       [](LoraFile& f) {
         auto& tensor = f.tensors.front();  // the last value is too large for float32
         std::vector<double> values(tensor.spec.elements(), 1.0);
         values.back() = 1e300;
         tensor.spec.dtype = Dtype::f64;
         tensor.data = bytes_of(values);
       }},
      {"bad-dtype",
       "has dtype I32, expected floats",
       [](LoraFile& f) { f.tensors.front().spec.dtype = Dtype::i32; }},
      {"bad-dtype", "expected one number", [](LoraFile& f) { f.add(kFf + ".alpha", {2}); }},
      {"bad-dtype",
       "expected one number",
       [](LoraFile& f) {
         f.tensors.push_back({kFf + ".alpha", {Dtype::boolean, {}}, std::vector<std::byte>(1)});
       }},
      {"empty-tensor",
       "it holds nothing",
       [](LoraFile& f) {
         f.add(kSingle + ".lora_A.weight", {0, 64});
         f.add(kSingle + ".lora_B.weight", {192, 0});
       }},
  };
}

void check_bad(const Bad& bad) {
  CAPTURE(bad.message);
  LoraFile file = good_file();
  bad.change(file);
  const Loaded loaded = load_file(file, flux());
  const Problem problem = only_problem(loaded);
  CHECK(problem_name(problem.kind) == bad.kind);
  CHECK_MESSAGE(contains(problem.message, bad.message), problem.message);
  // Every key is accounted for.
  CHECK(loaded.adapters.front().keys.size() == file.tensors.size());
  for (const KeyRecord& key : loaded.adapters.front().keys) {
    CAPTURE(key.key);
    CHECK(key.used == key.reason.empty());
    CHECK(key.used == !key.tensors.empty());
  }
}

TEST_CASE("a good file has no problem") {
  CHECK(load_file(good_file(), flux()).problems.empty());
}

TEST_CASE("keys that lead nowhere are refused by name") {
  for (const Bad& bad : bad_keys()) check_bad(bad);
}

TEST_CASE("tensors that do not make an algorithm are refused") {
  for (const Bad& bad : bad_algorithms()) check_bad(bad);
}

TEST_CASE("tensors that do not fit or hold no numbers are refused") {
  for (const Bad& bad : bad_tensors()) check_bad(bad);
}

TEST_CASE("a file without tensors is refused") {
  const Problem problem = only_problem(load_file({}, flux()));
  CHECK(problem_name(problem.kind) == "empty");
}

TEST_CASE("a layer that fits only transposed among others that fit as stored is refused") {
  LoraFile file = good_file();
  file.add(kSingle + ".lora_A.weight", {64, 2});
  file.add(kSingle + ".lora_B.weight", {2, 192});
  const Problem problem = only_problem(load_file(file, flux()));
  CHECK(problem_name(problem.kind) == "shape-mismatch");
  CHECK(contains(problem.message, "fit only in the other matrix order"));
}

TEST_CASE("a LoRA for another model is refused, by its metadata or by its layers") {
  const struct {
    const BaseModel* model;
    std::string module;
    std::string metadata;
    std::string message;
  } kCases[] = {
      {&flux(), "transformer.transformer_blocks.0.attn.to_q", "qwen_image", "metadata say"},
      {&flux(), "transformer.transformer_blocks.0.attn.to_q", "sdxl_base_v1-0", "made for SDXL"},
      {&flux(), "transformer.transformer_blocks.0.attn.to_q", "flux2_klein", "made for FLUX.2"},
      {&qwen(), "transformer.transformer_blocks.0.attn.to_q", "flux1", "made for FLUX.1"},
      {&qwen(), "transformer.norm_out.linear", "Flux.1-dev/lora", "made for FLUX.1"},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.metadata);
    LoraFile file;
    const bool norm = c.module.ends_with("linear");
    add_pair(file, c.module, norm ? 128 : 64, 64);
    file.metadata["ss_base_model_version"] = c.metadata;
    const Problem problem = only_problem(load_file(file, *c.model));
    CHECK(problem_name(problem.kind) == "other-family");
    CHECK(problem.module == "");
    CHECK_MESSAGE(contains(problem.message, c.message), problem.message);
  }
  LoraFile flux_file = good_file();
  const Loaded loaded = load_file(flux_file, qwen());
  const auto other = std::ranges::find(loaded.problems, ProblemKind::other_family, &Problem::kind);
  REQUIRE(other != loaded.problems.end());
  CHECK(contains(other->message, "made for FLUX.1, as its layer names say"));
}

TEST_CASE("a LoRA that does not tell its family is taken with a note") {
  LoraFile file;
  add_pair(file, "transformer.transformer_blocks.0.attn.to_q", 64, 64);
  for (const BaseModel* model : {&flux(), &qwen()}) {
    const Loaded loaded = load_file(file, *model);
    CHECK(loaded.problems.empty());
    REQUIRE(loaded.notes.size() == 1);
    CHECK(contains(loaded.notes.front(), "does not say which model"));
  }
}

TEST_CASE("layers of a text encoder that is not written are refused") {
  BaseModel model = flux();
  model.components["text_encoder"].clear();
  std::erase_if(model.targets, [](const Target& t) { return t.component == "text_encoder"; });
  LoraFile file = good_file();
  add_pair(file, "lora_te1_text_model_encoder_layers_0_mlp_fc1", 3072, 768);
  const Problem problem = only_problem(load_file(file, model));
  CHECK(problem_name(problem.kind) == "component-absent");
  CHECK(contains(problem.message, "text_encoder, which is not being written"));
}

TEST_CASE("without a guidance embedder the refusal names schnell") {
  BaseModel model = flux();
  std::erase_if(
      model.targets, [](const Target& target) { return contains(target.alias, "guidance"); });
  LoraFile file = good_file();
  add_pair(file, "lora_unet_guidance_in_in_layer", 64, 256);
  const Problem problem = only_problem(load_file(file, model));
  CHECK(problem_name(problem.kind) == "unknown-module");
  CHECK(contains(problem.message, "schnell"));
}

TEST_CASE("ignored keys are no problem but are on record") {
  LoraFile file = good_file();
  file.add("bundle_emb.trigger.clip_l", {2, 768});
  const Loaded loaded = load_file(file, flux());
  CHECK(loaded.problems.empty());
  REQUIRE(loaded.notes.size() == 1);
  CHECK(contains(loaded.notes.front(), "ignored"));
  const KeyRecord& record = loaded.adapters.front().keys.front();
  CHECK(record.key == "bundle_emb.trigger.clip_l");
  CHECK_FALSE(record.used);
  CHECK(contains(record.reason, "embedding"));
}

TEST_CASE("a file that cannot be read or is no safetensors file is an error") {
  const TempDir folder;
  write_file(folder / "text.safetensors", "this is not a safetensors file at all");
  write_file(folder / "empty.safetensors", "");
  for (const std::string name : {"text.safetensors", "empty.safetensors", "absent.safetensors"}) {
    CAPTURE(name);
    const std::string error = error_of([&] {
      const LoraSpec spec{.file = folder / name};
      load({&spec, 1}, flux());
    });
    CHECK_MESSAGE(contains(error, name), error);
  }
}

}  // namespace
}  // namespace mflux::lora
