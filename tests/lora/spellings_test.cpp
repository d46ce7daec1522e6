// SPDX-License-Identifier: MIT
// One LoRA in the spellings that PEFT, DiffSynth, wrapped modules and MLX give it: the same change.
#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

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

constexpr uint64_t kRank = 4;
const std::string kLayer = "transformer_blocks.0.ff.net.0.proj";  // (192, 64)
const std::string kTensor = "transformer/transformer_blocks.0.ff.net.0.proj.weight";

const Values& down() {
  static const Values kDown = numbers("down", kRank * 64);
  return kDown;
}
const Values& up() {
  static const Values kUp = numbers("up", 192 * kRank);
  return kUp;
}

void add(LoraFile& file, const std::string& key, const Shape& shape, const Values& values) {
  file.tensors.push_back(mflux::testing::f32_tensor(key, shape, values));
}

LoraFile pair(const std::string& a, const std::string& b) {
  LoraFile file;
  add(file, a, {kRank, 64}, down());
  add(file, b, {192, kRank}, up());
  return file;
}

Values transposed(const Values& matrix, uint64_t rows) {
  const uint64_t columns = matrix.size() / rows;
  Values result(matrix.size());
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < columns; ++j) result[j * rows + i] = matrix[i * columns + j];
  }
  return result;
}

void check_delta(const LoraFile& file, double scale) {
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  const bool same = delta(loaded, flux(), kTensor) == product(up(), down(), kRank, scale);
  CHECK(same);
  for (const KeyRecord& key : loaded.adapters.front().keys) CHECK_MESSAGE(key.used, key.key);
}

TEST_CASE("an adapter's name may stand wherever PEFT and DiffSynth write it") {
  const struct {
    std::string a;
    std::string b;
    std::string adapter;
  } kCases[] = {
      {".lora_A.default.weight", ".lora_B.default.weight", "default"},
      {".lora_A.default_0.default.weight", ".lora_B.default_0.default.weight", "default_0.default"},
      {".lora_A.my-style_2.weight", ".lora_B.my-style_2.weight", "my-style_2"},
      {".lora_A.v1.5.weight", ".lora_B.v1.5.weight", "v1.5"},
      {".lora_A.my_lora.weight", ".lora_B.my_lora.weight", "my_lora"},
      {".lora_A.default", ".lora_B.default", "default"},
      {".lora_down.default.weight", ".lora_up.default.weight", "default"},
      {".lora_down.default", ".lora_up.default", "default"},
      {".lora_down", ".lora_up", ""},
      {".lora.down.default.weight", ".lora.up.default.weight", "default"},
      {".lora_linear_layer.down.x.weight", ".lora_linear_layer.up.x.weight", "x"},
      {".lora_a.weight", ".lora_b.weight", ""},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.a);
    check_delta(pair(kLayer + c.a, kLayer + c.b), 1);
    std::vector<std::string> alphas = {".alpha", ".lora_alpha"};
    const bool is_word = !c.adapter.empty() && !contains(c.adapter, ".");
    if (is_word) alphas.insert(alphas.end(), {".alpha." + c.adapter, ".lora_alpha." + c.adapter});
    for (const std::string& alpha : alphas) {
      CAPTURE(alpha);
      LoraFile file = pair(kLayer + c.a, kLayer + c.b);
      file.add_value(kLayer + alpha, 1);
      check_delta(file, 1.0 / kRank);
    }
  }
}

TEST_CASE("other algorithms may have an adapter's name too") {
  LoraFile file;
  file.add(kLayer + ".hada_w1_a.default", {192, 2});
  file.add(kLayer + ".hada_w1_b.default", {2, 64});
  file.add(kLayer + ".hada_w2_a.default", {192, 2});
  file.add(kLayer + ".hada_w2_b.default", {2, 64});
  file.add("transformer_blocks.1.ff.net.0.proj.lokr_w1.default", {4, 4});
  file.add("transformer_blocks.1.ff.net.0.proj.lokr_w2.default", {48, 16});
  file.add("base_model.model.proj_out.modules_to_save.default.weight", {64, 64});
  const Loaded loaded = load_file(file, flux());
  require_clean(loaded);
  CHECK(loaded.adapters.front().updates.size() == 3);
}

TEST_CASE("two adapters in one file are refused as that, in one sentence") {
  LoraFile same_layer = pair(kLayer + ".lora_A.one.weight", kLayer + ".lora_B.one.weight");
  add(same_layer, kLayer + ".lora_A.two.weight", {kRank, 64}, down());
  add(same_layer, kLayer + ".lora_B.two.weight", {192, kRank}, up());
  LoraFile other_layer = pair(kLayer + ".lora_A.one.weight", kLayer + ".lora_B.one.weight");
  const std::string other = "transformer_blocks.1.ff.net.0.proj";
  add(other_layer, other + ".lora_down.two.weight", {kRank, 64}, down());
  add(other_layer, other + ".lora_up.two.weight", {192, kRank}, up());
  LoraFile alpha = pair(kLayer + ".lora_A.one.weight", kLayer + ".lora_B.one.weight");
  alpha.add_value(kLayer + ".alpha.two", 1);
  for (const LoraFile* file : {&same_layer, &other_layer, &alpha}) {
    const Loaded loaded = load_file(*file, flux());
    const Problem problem = only_problem(loaded);
    CHECK(problem.kind == ProblemKind::several_adapters);
    CHECK(contains(problem.message, "holds 2 adapters (one, two)"));
    CHECK(loaded.adapters.front().updates.empty());
  }
}

TEST_CASE("PyTorch's wrappers may stand anywhere in a key") {
  for (const std::string layer :
       {"_orig_mod.transformer_blocks.0.ff.net.0.proj",
        "module.transformer_blocks.0.ff.net.0.proj",
        "module._orig_mod.transformer_blocks.0.ff.net.0.proj",
        "transformer._orig_mod.transformer_blocks.0.ff.net.0.proj",
        "base_model.model._orig_mod.transformer_blocks.0.ff.net.0.proj",
        "_orig_mod.base_model.model.transformer_blocks.0.ff.net.0.proj",
        "module.base_model.model.transformer_blocks.0._orig_mod.ff.net.0.proj",
        "transformer.module.transformer_blocks.0.ff.net.0.proj",
        "transformer_blocks.0.ff.net.0.proj._orig_mod",
        "_fsdp_wrapped_module.transformer_blocks.0._checkpoint_wrapped_module.ff.net.0.proj",
        "diffusion_model._orig_mod.double_blocks.0.img_mlp.0",
        "lora_unet__orig_mod_double_blocks_0_img_mlp_0",
        "lora_unet_double_blocks_0__orig_mod_img_mlp_0",
        "lycoris__orig_mod_transformer_blocks_0_ff_net_0_proj"}) {
    CAPTURE(layer);
    check_delta(pair(layer + ".lora_A.weight", layer + ".lora_B.weight"), 1);
    LoraFile kohya = pair(layer + ".lora_down.weight", layer + ".lora_up.weight");
    kohya.add_value(layer + ".alpha", 2);
    check_delta(kohya, 2.0 / kRank);
  }
  check_delta(
      pair(kLayer + ".lora_A._orig_mod.weight", kLayer + ".lora_B._orig_mod.default.weight"), 1);
}

TEST_CASE("with and without its wrapper a key is the same, and there twice") {
  LoraFile file = pair(kLayer + ".lora_A.weight", kLayer + ".lora_B.weight");
  add(file, "_orig_mod." + kLayer + ".lora_A.weight", {kRank, 64}, down());
  CHECK(only_problem(load_file(file, flux())).kind == ProblemKind::duplicate);
}

LoraFile mlx_pair(const std::string& layer) {
  LoraFile file;
  add(file, layer + ".lora_a", {64, kRank}, transposed(down(), kRank));
  add(file, layer + ".lora_b", {kRank, 192}, transposed(up(), 192));
  return file;
}

TEST_CASE("MLX's own files are read: lora_a [inputs, rank], lora_b [rank, outputs]") {
  for (const std::string layer :
       {"transformer_blocks.0.ff.net.0.proj",
        "double_blocks.0.img_mlp.layers.0",
        "transformer.double_blocks.0.img_mlp.layers.0"}) {
    CAPTURE(layer);
    check_delta(mlx_pair(layer), 1);
    const Loaded loaded = load_file(mlx_pair(layer), flux());
    CHECK(loaded.adapters.front().transposed);
  }
}

TEST_CASE("where both orders fit, MLX's names decide") {
  const std::string layer = "double_blocks.0.img_attn.proj";  // (64, 64)
  const std::string tensor = "transformer/transformer_blocks.0.attn.to_out.0.weight";
  LoraFile mlx;
  const Values a = mlx.add(layer + ".lora_a", {64, 64});
  const Values b = mlx.add(layer + ".lora_b", {64, 64});
  const Loaded loaded = load_file(mlx, flux());
  require_clean(loaded);
  const bool as_mlx =
      delta(loaded, flux(), tensor) == product(transposed(b, 64), transposed(a, 64), 64);
  CHECK(as_mlx);
  LoraFile peft;
  const Values lora_a = peft.add(layer + ".lora_A", {64, 64});
  const Values lora_b = peft.add(layer + ".lora_B", {64, 64});
  const bool as_peft =
      delta(load_file(peft, flux()), flux(), tensor) == product(lora_b, lora_a, 64);
  CHECK(as_peft);
}

TEST_CASE("a sequence's word 'layers' is read in every family, and only where it is needed") {
  LoraFile file;
  file.add("transformer_blocks.1.img_mod.layers.1.lora_A.weight", {2, 64});
  file.add("transformer_blocks.1.img_mod.layers.1.lora_B.weight", {384, 2});
  file.add("transformer_blocks.0.attn.to_out.layers.0.lora_A.weight", {2, 64});
  file.add("transformer_blocks.0.attn.to_out.layers.0.lora_B.weight", {64, 2});
  file.add("text_encoder.model.layers.3.self_attn.o_proj.lora_A.weight", {2, 3584});
  file.add("text_encoder.model.layers.3.self_attn.o_proj.lora_B.weight", {3584, 2});
  require_clean(load_file(file, qwen()));
}

}  // namespace
}  // namespace mflux::lora
