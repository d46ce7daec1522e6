// SPDX-License-Identifier: MIT
// What is kept, in which dtype, packed how, and the several spellings of the same thing.
#include <algorithm>
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include "mflux/models/family.h"
#include "tests/models/headers.h"

namespace mflux::models {
namespace {

using testing::as_source;
using testing::family;
using testing::load_component;
using testing::mapped_named;
using testing::tensor_named;
using testing::tiny;

void replace_prefix(SourceComponent& source, std::string_view from, std::string_view to) {
  for (SourceComponent::Tensor& tensor : source.tensors) {
    if (tensor.name.starts_with(from)) tensor.name.replace(0, from.size(), to);
  }
}

// Same names, same sources.
void check_same(const MappedComponent& a, const MappedComponent& b) {
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    CHECK(a.tensors[i].name == b.tensors[i].name);
    CHECK(a.tensors[i].pieces.front().source == b.tensors[i].pieces.front().source);
  }
}

TEST_CASE("the names that transformers 4 and 5 write are the same model") {
  const struct {
    const char* file;
    const char* component;
    const char* model;
    const char* from;
    const char* to;
  } kCases[] = {
      {"flux-dev.txt", "text_encoder", "flux", "text_model.", ""},
      {"qwen-image.txt", "text_encoder", "qwen-edit", "model.", "model.language_model."},
      {"qwen-image.txt", "text_encoder", "qwen-edit", "model.", "language_model.model."},
      {"qwen-image.txt", "text_encoder", "qwen-edit", "model.", "language_model."},
      {"qwen-image.txt", "text_encoder", "qwen-edit", "model.", ""},
      {"qwen-image.txt", "text_encoder", "qwen-edit", "visual.", "model.visual."},
      {"flux-dev.txt", "text_encoder_2", "flux", "shared.", "encoder.embed_tokens."},
      {"flux-dev.txt", "transformer", "flux", "", "model.diffusion_model."},
      {"qwen-image.txt", "transformer", "qwen", "", "diffusion_model."},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.to);
    const SourceComponent source = load_component(c.file, c.component);
    SourceComponent other = source;
    replace_prefix(other, c.from, c.to);
    const auto same = [](const auto& a, const auto& b) { return a.name == b.name; };
    CHECK_FALSE(std::ranges::equal(source.tensors, other.tensors, same));
    for (const Naming output : {Naming::diffusers, Naming::mflux}) {
      check_same(
          map_component(family(c.model), source, Naming::diffusers, output),
          map_component(family(c.model), other, Naming::diffusers, output));
    }
  }
}

TEST_CASE("diffusers output drops nothing, mflux output what mflux has no place for") {
  SourceComponent t5 = load_component("flux-dev.txt", "text_encoder_2");
  t5.tensors.push_back(
      {.name = "encoder.embed_tokens.weight", .spec = {Dtype::bf16, {32128, 4096}}});
  SourceComponent clip = load_component("flux-dev.txt", "text_encoder");
  clip.tensors.push_back(
      {.name = "text_model.embeddings.position_ids", .spec = {Dtype::i64, {1, 77}}});
  const SourceComponent vl = load_component("qwen-image.txt", "text_encoder");
  const SourceComponent vae = load_component("qwen-image.txt", "vae");
  const struct {
    const char* model;
    const SourceComponent& source;
    size_t left_out;  // of mflux naming
  } kCases[] = {
      {"flux", t5, 1},
      {"flux", clip, 1},
      {"qwen", vl, 1 + 6 + 32 * 12},  // lm_head, the vision tower
      {"qwen-edit", vl, 1},
      {"qwen", vae, 2},  // down_blocks.5.time_conv
  };
  for (const auto& c : kCases) {
    CAPTURE(c.source.name);
    const MappedComponent all =
        map_component(family(c.model), c.source, Naming::diffusers, Naming::diffusers);
    CHECK(all.tensors.size() == c.source.tensors.size());
    CHECK(all.left_out.empty());
    const MappedComponent kept =
        map_component(family(c.model), c.source, Naming::diffusers, Naming::mflux);
    CHECK(kept.left_out.size() == c.left_out);
  }
  const MappedComponent twin =
      map_component(family("flux"), t5, Naming::diffusers, Naming::diffusers);
  CHECK(
      mapped_named(twin, "encoder.embed_tokens.weight").pieces.front().canonical ==
      "shared.weight");
  const MappedComponent ids =
      map_component(family("flux"), clip, Naming::diffusers, Naming::diffusers);
  CHECK(mapped_named(ids, "text_model.embeddings.position_ids").dtype == Dtype::i64);
}

TEST_CASE("an edit model keeps its vision tower under mflux's names") {
  const SourceComponent source = load_component("qwen-image.txt", "text_encoder");
  const MappedComponent mapped =
      map_component(family("qwen-edit"), source, Naming::diffusers, Naming::mflux);
  const MappedTensor& patches = mapped_named(mapped, "encoder.visual.patch_embed.proj.weight");
  CHECK(patches.shape == Shape{1280, 2, 14, 14, 3});
  CHECK(patches.transpose == RowTranspose{.channels = 3, .positions = 392});
  CHECK(mapped_named(mapped, "encoder.visual.merger.mlp_1.bias").shape == Shape{3584});
}

TEST_CASE("the output dtype is mflux's in mflux naming, else the source's, and never fp8") {
  const struct {
    const char* model;
    const char* component;
    const char* tensor;
    Dtype source;
    Dtype mflux;
    Dtype diffusers;
  } kCases[] = {
      {"flux", "transformer", "proj_out.weight", Dtype::f16, Dtype::bf16, Dtype::f16},
      {"flux", "transformer", "proj_out.weight", Dtype::f8_e4m3, Dtype::bf16, Dtype::bf16},
      {"flux", "vae", "encoder.conv_out.bias", Dtype::f32, Dtype::bf16, Dtype::f32},
      {"qwen", "transformer", "proj_out.weight", Dtype::f16, Dtype::f16, Dtype::f16},
      {"qwen", "transformer", "proj_out.weight", Dtype::f8_e5m2, Dtype::bf16, Dtype::bf16},
      {"qwen", "vae", "quant_conv.bias", Dtype::f32, Dtype::f32, Dtype::f32},
      {"qwen", "text_encoder", "model.norm.weight", Dtype::f32, Dtype::bf16, Dtype::f32},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.tensor);
    const bool flux = std::string_view(c.model) == "flux";
    SourceComponent source = load_component(flux ? "flux-dev.txt" : "qwen-image.txt", c.component);
    tensor_named(source, c.tensor).spec.dtype = c.source;
    for (const Naming output : {Naming::mflux, Naming::diffusers}) {
      const MappedComponent mapped =
          map_component(family(c.model), source, Naming::diffusers, output);
      for (const MappedTensor& tensor : mapped.tensors) {
        if (tensor.pieces.front().canonical != c.tensor) continue;
        CHECK(tensor.dtype == (output == Naming::mflux ? c.mflux : c.diffusers));
      }
    }
  }
}

TEST_CASE("a fused tensor has a dtype that holds all its parts") {
  SourceComponent source = tiny(load_component("flux-dev.txt", "transformer"));
  tensor_named(source, "transformer_blocks.0.attn.to_k.weight").spec.dtype = Dtype::f16;
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::diffusers, Naming::original);
  CHECK(mapped_named(mapped, "double_blocks.0.img_attn.qkv.weight").dtype == Dtype::f32);
  CHECK(mapped_named(mapped, "double_blocks.1.img_attn.qkv.weight").dtype == Dtype::bf16);
}

TEST_CASE("packed matrices are mapped by their logical shape") {
  const SourceComponent start = tiny(load_component("flux-dev.txt", "transformer"));
  SourceComponent source =
      as_source(start, map_component(family("flux"), start, Naming::diffusers, Naming::mflux));
  SourceComponent::Tensor& packed = tensor_named(source, "transformer_blocks.0.ff.linear1.weight");
  packed.packed = true;
  packed.spec.dtype = Dtype::u8;  // the scales of mxfp4
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::mflux, Naming::diffusers);
  const MappedTensor& tensor = mapped_named(mapped, "transformer_blocks.0.ff.net.0.proj.weight");
  CHECK(tensor.shape == Shape{12288, 3072});
  CHECK(tensor.dtype == Dtype::bf16);
}

TEST_CASE("rows of a BFL file go where diffusers' converter puts them") {
  const SourceComponent start = load_component("flux-dev.txt", "transformer");
  SourceComponent source =
      as_source(start, map_component(family("flux"), start, Naming::diffusers, Naming::original));
  source.name = "";
  const MappedComponent mapped =
      map_component(family("flux"), source, Naming::original, Naming::diffusers);
  std::ifstream in(std::string(MFLUX_TEST_DATA) + "/models/bfl-rows.txt");
  REQUIRE(in);
  size_t lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    CAPTURE(line);
    std::istringstream words(line);
    std::string name;
    words >> name;
    const MappedTensor& tensor = mapped_named(mapped, name);
    std::ostringstream found;
    found << name;
    for (const Piece& piece : tensor.pieces) {
      found << ' ' << source.tensors[piece.source].name << ' ' << piece.source_begin << ' '
            << piece.count;
    }
    CHECK(found.str() == line);
  }
  CHECK(lines == 66);
}

TEST_CASE("ComfyUI's markers and companions do not get into a folder") {
  SourceComponent source = tiny(load_component("qwen-image.txt", "transformer"));
  source.name = "";
  for (const char* name :
       {"__index_timestep_zero__", "vae.conv1.weight", "text_encoders.x.weight"}) {
    source.tensors.push_back({.name = name, .spec = {Dtype::f32, {0}}});
  }
  const MappedComponent folder =
      map_component(family("qwen"), source, Naming::original, Naming::mflux);
  CHECK(folder.left_out.size() == 3);
  const MappedComponent file =
      map_component(family("qwen"), source, Naming::original, Naming::original);
  CHECK(file.left_out.size() == 2);
  CHECK(mapped_named(file, "__index_timestep_zero__").shape == Shape{0});
}

TEST_CASE("quantization follows mflux's predicate") {
  const Family& qwen = family("qwen");
  MappedTensor mod{.name = "transformer_blocks.3.img_mod_linear.weight", .shape = {384, 64}};
  mod.role = Role::linear;
  mod.pieces.push_back({.canonical = "transformer_blocks.3.img_mod.1.weight"});
  CHECK(quantization(qwen, "transformer", mod, {.bits = 4})->bits == 8);
  CHECK(quantization(qwen, "transformer", mod, {.bits = 4, .group_size = 32})->group_size == 32);
  CHECK(quantization(qwen, "transformer", mod, {.bits = 3})->bits == 3);
  CHECK(quantization(qwen, "transformer", mod, {.bits = 6})->bits == 6);
  CHECK(
      quantization(qwen, "transformer", mod, {QuantMode::nvfp4, 4, 16}) ==
      QuantFormat{QuantMode::affine, 8, 64});
  CHECK_FALSE(quantization(qwen, "text_encoder", mod, {.bits = 8}));
  CHECK_FALSE(quantization(qwen, "vae", mod, {.bits = 8}));
  mod.pieces.front().canonical = "transformer_blocks.3.txt_mod.1.weight";
  CHECK(quantization(qwen, "transformer", mod, {.bits = 4})->bits == 4);
  mod.shape = {384, 72};  // mlx refuses such rows; we keep them as they are
  CHECK_FALSE(quantization(qwen, "transformer", mod, {.bits = 4}));
  CHECK_FALSE(quantization(family("flux"), "vae", {.shape = {64, 64}}, {.bits = 8}));
}

TEST_CASE("what a whole T5 or CLIP holds besides the text encoder is left out, and told") {
  const struct {
    const char* component;
    std::vector<const char*> more;
  } kCases[] = {
      {"text_encoder_2",
       {"decoder.block.0.layer.0.SelfAttention.q.weight",
        "decoder.block.1.layer.2.DenseReluDense.wo.weight",
        "decoder.embed_tokens.weight",
        "decoder.final_layer_norm.weight",
        "lm_head.weight"}},
      {"text_encoder",
       {"logit_scale",
        "visual_projection.weight",
        "vision_model.embeddings.class_embedding",
        "vision_model.encoder.layers.0.mlp.fc1.bias"}},
  };
  for (const auto& c : kCases) {
    const SourceComponent source = load_component("flux-dev.txt", c.component);
    SourceComponent whole = source;
    for (const char* name : c.more) {
      whole.tensors.push_back({.name = name, .spec = {Dtype::f32, {}}});
    }
    for (const Naming output : {Naming::mflux, Naming::diffusers}) {
      const auto mapped = map_component(family("flux"), whole, Naming::diffusers, output);
      check_same(mapped, map_component(family("flux"), source, Naming::diffusers, output));
      CHECK(mapped.foreign.size() == c.more.size());
      for (const char* name : c.more) CHECK(std::ranges::count(mapped.foreign, name) == 1);
    }
  }
}

}  // namespace
}  // namespace mflux::models
