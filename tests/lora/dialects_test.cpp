// SPDX-License-Identifier: MIT
// What every dialect's file adds to the model, against sums computed here from the file's numbers.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/load.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::delta;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::numbers;
using testing::product;
using testing::qwen;
using testing::require_clean;
using testing::rows_of;
using testing::Values;

constexpr uint64_t kHidden = 64;
constexpr uint64_t kMlp = 192;

// How a dialect spells the tensors of one module.
struct Spelling {
  std::string module;
  std::string down = ".lora_down.weight";
  std::string up = ".lora_up.weight";
};

struct Pair {
  Values down;
  Values up;
};

Pair add_pair(
    LoraFile& file, const Spelling& spelling, uint64_t outputs, uint64_t inputs, uint64_t rank) {
  Pair pair;
  pair.down = file.add(spelling.module + spelling.down, {rank, inputs});
  pair.up = file.add(spelling.module + spelling.up, {outputs, rank});
  return pair;
}

struct DialectCase {
  const BaseModel* model;
  Spelling spelling;
  std::string dialect;
  std::string tensor;
  uint64_t outputs;
  uint64_t inputs;
};

std::vector<DialectCase> dialect_cases() {
  const std::string ff = "transformer/transformer_blocks.1.ff.net.0.proj.weight";
  const std::string mlp = "transformer/transformer_blocks.1.img_mlp.net.0.proj.weight";
  const std::string clip = "text_encoder/text_model.encoder.layers.0.mlp.fc1.weight";
  const std::string t5 = "text_encoder_2/encoder.block.1.layer.0.SelfAttention.q.weight";
  const std::string a = ".lora_A.weight";
  const std::string b = ".lora_B.weight";
  const std::string net = "transformer_blocks.1.ff.net.0.proj";
  const std::string qwen_net = "transformer_blocks.1.img_mlp.net.0.proj";
  return {
      {&flux(), {"transformer." + net, a, b}, "diffusers", ff, kMlp, kHidden},
      {&flux(),
       {"transformer." + net, ".lora.down.weight", ".lora.up.weight"},
       "diffusers",
       ff,
       kMlp,
       kHidden},
      {&flux(),
       {net, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"},
       "bare names",
       ff,
       kMlp,
       kHidden},
      {&flux(),
       {"base_model.model." + net, ".lora_A.default.weight", ".lora_B.default.weight"},
       "PEFT",
       ff,
       kMlp,
       kHidden},
      {&flux(), {net, ".lora_A", ".lora_B"}, "bare names", ff, kMlp, kHidden},
      {&flux(), {"lora_unet_double_blocks_1_img_mlp_0"}, "kohya", ff, kMlp, kHidden},
      {&flux(),
       {"lora_transformer_transformer_blocks_1_ff_net_0_proj"},
       "OneTrainer",
       ff,
       kMlp,
       kHidden},
      {&flux(), {"lycoris_transformer_blocks_1_ff_net_0_proj"}, "LyCORIS", ff, kMlp, kHidden},
      {&flux(), {"diffusion_model.double_blocks.1.img_mlp.0", a, b}, "ComfyUI", ff, kMlp, kHidden},
      {&flux(), {"model.diffusion_model.double_blocks.1.img_mlp.0"}, "ComfyUI", ff, kMlp, kHidden},
      {&flux(), {"double_blocks.1.img_mlp.0", a, b}, "bare names", ff, kMlp, kHidden},
      {&flux(), {"transformer_blocks.1.ff.linear1", a, b}, "bare names", ff, kMlp, kHidden},
      {&flux(), {"lora_te1_text_model_encoder_layers_0_mlp_fc1"}, "text encoder", clip, 3072, 768},
      {&flux(),
       {"text_encoder.text_model.encoder.layers.0.mlp.fc1", a, b},
       "text encoder",
       clip,
       3072,
       768},
      {&flux(),
       {"lora_te2_encoder_block_1_layer_0_SelfAttention_q"},
       "text encoder",
       t5,
       4096,
       4096},
      {&flux(),
       {"lora_te3_encoder_block_1_layer_0_SelfAttention_q"},
       "text encoder",
       t5,
       4096,
       4096},
      {&qwen(), {"transformer." + qwen_net, a, b}, "diffusers", mlp, kMlp, kHidden},
      {&qwen(), {"diffusion_model." + qwen_net, a, b}, "ComfyUI", mlp, kMlp, kHidden},
      {&qwen(), {qwen_net}, "bare names", mlp, kMlp, kHidden},
      {&qwen(),
       {qwen_net, ".lora_A.default.weight", ".lora_B.default.weight"},
       "bare names",
       mlp,
       kMlp,
       kHidden},
      {&qwen(), {"lora_unet_transformer_blocks_1_img_mlp_net_0_proj"}, "kohya", mlp, kMlp, kHidden},
      {&qwen(), {"transformer_blocks.1.img_ff.mlp_in", a, b}, "bare names", mlp, kMlp, kHidden},
      {&qwen(),
       {"text_encoder.model.layers.0.self_attn.k_proj", a, b},
       "text encoder",
       "text_encoder/model.layers.0.self_attn.k_proj.weight",
       512,
       3584},
  };
}

TEST_CASE("every dialect's pair adds scale * alpha / rank * B A to its tensor") {
  for (const DialectCase& c : dialect_cases()) {
    CAPTURE(c.spelling.module + c.spelling.down);
    LoraFile file;
    const Pair pair = add_pair(file, c.spelling, c.outputs, c.inputs, 2);
    file.add_value(c.spelling.module + ".alpha", 1);
    const Loaded loaded = load_file(file, *c.model, 0.5);
    require_clean(loaded);
    CHECK(loaded.adapters.front().dialect == c.dialect);
    const bool exact = delta(loaded, *c.model, c.tensor) == product(pair.up, pair.down, 2, 0.25);
    CHECK(exact);
    for (const KeyRecord& key : loaded.adapters.front().keys) {
      CHECK(key.used);
      CHECK(key.tensors == std::vector<std::string>{c.tensor});
      CHECK(key.rank == 2);
      CHECK(key.alpha == 1);
      CHECK(alpha_source_name(key.alpha_source) == "tensor");
    }
    CHECK(contributions(loaded).size() == 1);
  }
}

TEST_CASE("a fused layer's rows go to the layers it is made of") {
  const std::string single = "transformer/single_transformer_blocks.1.";
  const std::string text = "transformer/transformer_blocks.0.attn.add_";
  const struct {
    std::string module;
    std::vector<std::pair<std::string, uint64_t>> parts;  // tensor and its rows, in row order
  } kCases[] = {
      {"lora_unet_single_blocks_1_linear1",
       {{single + "attn.to_q.weight", kHidden},
        {single + "attn.to_k.weight", kHidden},
        {single + "attn.to_v.weight", kHidden},
        {single + "proj_mlp.weight", kMlp}}},
      {"single_blocks.1.processor.qkv_lora",
       {{single + "attn.to_q.weight", kHidden},
        {single + "attn.to_k.weight", kHidden},
        {single + "attn.to_v.weight", kHidden}}},
      {"diffusion_model.double_blocks.0.txt_attn.qkv",
       {{text + "q_proj.weight", kHidden},
        {text + "k_proj.weight", kHidden},
        {text + "v_proj.weight", kHidden}}},
      {"transformer.transformer_blocks.0.attn.to_added_qkv",
       {{text + "q_proj.weight", kHidden},
        {text + "k_proj.weight", kHidden},
        {text + "v_proj.weight", kHidden}}},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.module);
    uint64_t rows = 0;
    for (const auto& part : c.parts) rows += part.second;
    LoraFile file;
    const bool xlabs = c.module.find("processor") != std::string::npos;
    const Spelling spelling =
        xlabs ? Spelling{c.module, ".down.weight", ".up.weight"} : Spelling{c.module};
    const Pair pair = add_pair(file, spelling, rows, kHidden, 3);
    const Loaded loaded = load_file(file, flux());
    require_clean(loaded);
    const std::vector<double> whole = product(pair.up, pair.down, 3);
    uint64_t begin = 0;
    for (const auto& [tensor, count] : c.parts) {
      CAPTURE(tensor);
      const bool exact = delta(loaded, flux(), tensor) == rows_of(whole, kHidden, begin, count);
      CHECK(exact);
      begin += count;
    }
    CHECK(contributions(loaded).size() == c.parts.size());
  }
}

TEST_CASE("BFL's final modulation has its halves swapped, A as it is") {
  LoraFile file;
  const Spelling spelling{"lora_unet_final_layer_adaLN_modulation_1"};
  const Pair pair = add_pair(file, spelling, 2 * kHidden, kHidden, 2);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  const std::vector<double> file_order = product(pair.up, pair.down, 2);
  std::vector<double> expected = rows_of(file_order, kHidden, kHidden, kHidden);
  const std::vector<double> shift = rows_of(file_order, kHidden, 0, kHidden);
  expected.insert(expected.end(), shift.begin(), shift.end());
  const bool exact = delta(loaded, flux(), "transformer/norm_out.linear.weight") == expected;
  CHECK(exact);
}

TEST_CASE("the same layer in diffusers' names and in Qwen-Image is not swapped") {
  for (const BaseModel* model : {&flux(), &qwen()}) {
    LoraFile file;
    const Pair pair = add_pair(file, {"transformer.norm_out.linear"}, 2 * kHidden, kHidden, 2);
    const Loaded loaded = load_file(file, *model);
    require_clean(loaded);
    const bool exact = delta(loaded, *model, "transformer/norm_out.linear.weight") ==
                       product(pair.up, pair.down, 2);
    CHECK(exact);
  }
}

TEST_CASE("fused and split layers of one file are both added") {
  LoraFile file;
  const Pair fused =
      add_pair(file, {"lora_unet_double_blocks_0_img_attn_qkv"}, 3 * kHidden, kHidden, 2);
  const Pair split =
      add_pair(file, {"transformer.transformer_blocks.0.attn.to_k"}, kHidden, kHidden, 4);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(loaded.adapters.front().dialect == "kohya + diffusers");
  std::vector<double> expected =
      rows_of(product(fused.up, fused.down, 2), kHidden, kHidden, kHidden);
  const std::vector<double> second = product(split.up, split.down, 4);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += second[i];
  const bool exact =
      delta(loaded, flux(), "transformer/transformer_blocks.0.attn.to_k.weight") == expected;
  CHECK(exact);
  REQUIRE(loaded.notes.size() == 1);
  CHECK(testing::contains(loaded.notes.front(), "both are added"));
}

TEST_CASE("linear layers stored as 1x1 convolutions are matrices") {
  LoraFile file;
  const std::string module = "lora_unet_double_blocks_0_img_mlp_0";
  const Values down = file.add(module + ".lora_down.weight", {2, kHidden, 1, 1});
  const Values up = file.add(module + ".lora_up.weight", {kMlp, 2, 1, 1});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  const bool exact =
      delta(loaded, flux(), "transformer/transformer_blocks.0.ff.net.0.proj.weight") ==
      product(up, down, 2);
  CHECK(exact);
}

Values transposed(const Values& values, uint64_t rows, uint64_t columns) {
  Values result(values.size());
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < columns; ++j) result[j * rows + i] = values[i * columns + j];
  }
  return result;
}

TEST_CASE("a file that fits only with its matrices transposed is read so as a whole") {
  LoraFile file;
  const std::string telling = "transformer.transformer_blocks.0.ff.net.0.proj";
  const std::string square = "transformer.transformer_blocks.0.attn.to_q";
  const Values down = file.add(telling + ".lora_A.weight", {kHidden, 2});
  const Values up = file.add(telling + ".lora_B.weight", {2, kMlp});
  // Of this pair (rank 64) both orders fit.
  const Values square_down = file.add(square + ".lora_A.weight", {kHidden, kHidden});
  const Values square_up = file.add(square + ".lora_B.weight", {kHidden, kHidden});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(loaded.adapters.front().transposed);
  REQUIRE(loaded.notes.size() == 1);
  CHECK(testing::contains(loaded.notes.front(), "read as transposed"));
  const bool exact =
      delta(loaded, flux(), "transformer/transformer_blocks.0.ff.net.0.proj.weight") ==
      product(transposed(up, 2, kMlp), transposed(down, kHidden, 2), 2);
  CHECK(exact);
  const bool square_exact =
      delta(loaded, flux(), "transformer/transformer_blocks.0.attn.to_q.weight") ==
      product(
          transposed(square_up, kHidden, kHidden),
          transposed(square_down, kHidden, kHidden),
          kHidden);
  CHECK(square_exact);
}

TEST_CASE("a square pair alone is taken as stored") {
  LoraFile file;
  const Pair pair =
      add_pair(file, {"transformer.transformer_blocks.0.attn.to_q"}, kHidden, kHidden, kHidden);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK_FALSE(loaded.adapters.front().transposed);
  const bool exact = delta(loaded, flux(), "transformer/transformer_blocks.0.attn.to_q.weight") ==
                     product(pair.up, pair.down, kHidden);
  CHECK(exact);
}

TEST_CASE("a LoRA for a narrower model changes the first columns of the input layer") {
  LoraFile file;
  const Pair pair = add_pair(file, {"transformer.x_embedder"}, kHidden, 32, 2);
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  const std::vector<double> narrow = product(pair.up, pair.down, 2);
  std::vector<double> expected(kHidden * kHidden);
  for (size_t i = 0; i < narrow.size(); ++i) expected[i / 32 * kHidden + i % 32] = narrow[i];
  const bool exact = delta(loaded, flux(), "transformer/x_embedder.weight") == expected;
  CHECK(exact);
}

}  // namespace
}  // namespace mflux::lora
