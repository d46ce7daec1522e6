// SPDX-License-Identifier: MIT
#include "mflux/bake/plan.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/bake/prepare.h"
#include "mflux/save.h"
#include "tests/folders.h"
#include "tests/testing.h"
#include "tests/tiny_save.h"

namespace mflux {
namespace {

using testing::contains;
using testing::TinyFamily;
using testing::TinyLora;
using testing::TinySave;

struct Planned {
  explicit Planned(const SaveOptions& options)
      : model(open_checkpoint(options.model, options.base_model)),
        loras(load_loras(model, options)),
        plan(make_plan(model, loras, options)) {}

  const PlannedTensor& at(std::string_view name) const {
    const auto found = std::ranges::find_if(
        plan.tensors, [&](const PlannedTensor& tensor) { return tensor.mapped.name == name; });
    REQUIRE_MESSAGE(found != plan.tensors.end(), name);
    return *found;
  }

  Checkpoint model;
  lora::Loaded loras;
  Plan plan;
};

Error refusal(const SaveOptions& options) {
  try {
    const Planned planned(options);
  } catch (const Error& error) {
    return error;
  }
  FAIL("not refused");
  return {ErrorKind::failed, ""};
}

TEST_CASE("a plan names every file with the size it will have") {
  for (const TinyFamily family : {TinyFamily::flux, TinyFamily::qwen}) {
    const TinySave tiny(family);
    SaveOptions options = tiny.options();
    options.max_shard_bytes = 300'000;
    const Planned planned(options);
    save(options);
    std::set<std::string> files(planned.plan.copied.begin(), planned.plan.copied.end());
    for (const PlannedShard& shard : planned.plan.shards) {
      CAPTURE(shard.file);
      CHECK(std::filesystem::file_size(tiny.folder / "out" / shard.file) == shard.bytes);
      CHECK(testing::read_file(tiny.folder / "out" / shard.file).starts_with(shard.header));
      files.insert(shard.file);
    }
    for (const PlannedComponent& component : planned.plan.components) {
      files.insert(component.index_file);
    }
    files.insert("bake.json");
    std::set<std::string> written;
    for (const auto& [name, bytes] : testing::contents_of(tiny.folder / "out")) {
      if (!name.ends_with("/")) written.insert(name);
    }
    CHECK((files == written));
  }
}

TEST_CASE("a shard holds as much as fits, and a tensor that does not fit has one of its own") {
  const TinySave tiny;
  for (const uint64_t limit : {uint64_t{1}, uint64_t{50'000}, uint64_t{300'000}}) {
    CAPTURE(limit);
    SaveOptions options = tiny.options();
    options.max_shard_bytes = limit;
    const Planned planned(options);
    std::vector<uint64_t> filled(planned.plan.shards.size());
    std::vector<size_t> tensors(planned.plan.shards.size());
    for (const PlannedTensor& tensor : planned.plan.tensors) {
      CHECK(tensor.scales.value_or(tensor.weight).shard == tensor.weight.shard);
      CHECK(tensor.biases.value_or(tensor.weight).shard == tensor.weight.shard);
      filled[tensor.weight.shard] += tensor.bytes();
      ++tensors[tensor.weight.shard];
    }
    for (size_t i = 0; i < filled.size(); ++i) {
      CHECK(tensors[i] > 0);
      CHECK((filled[i] <= limit || tensors[i] == 1));
    }
  }
}

TEST_CASE("tensors of a shard lie by width, then name, without holes from an aligned begin") {
  const TinySave tiny;
  const Planned planned(tiny.options());
  for (const PlannedShard& shard : planned.plan.shards) {
    uint64_t end = shard.header.size();
    CHECK(end % 64 == 0);
    for (size_t i = 0; i < shard.tensors.size(); ++i) {
      const safetensors::TensorInfo& tensor = shard.tensors[i];
      CHECK(tensor.offset == end);
      CHECK(tensor.offset % dtype_bytes(tensor.spec.dtype) == 0);
      end += tensor.bytes;
      if (i == 0) continue;
      const safetensors::TensorInfo& before = shard.tensors[i - 1];
      const uint64_t width = dtype_bytes(tensor.spec.dtype);
      const uint64_t width_before = dtype_bytes(before.spec.dtype);
      CHECK((width_before > width || (width_before == width && before.name < tensor.name)));
    }
    CHECK(end == shard.bytes);
  }
}

TEST_CASE("what no LoRA touches and no format changes is copied as it is") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  const Planned planned(options);
  const PlannedTensor& baked = planned.at("transformer_blocks.0.attn.to_q.weight");
  CHECK(baked.baked());
  CHECK_FALSE(baked.copied);
  const PlannedTensor& plain = planned.at("x_embedder.weight");
  CHECK_FALSE(plain.baked());
  CHECK(plain.copied);
  const PlannedTensor& convolution = planned.at("encoder.conv_in.conv2d.weight");
  CHECK_FALSE(convolution.copied);
}

TEST_CASE("at 4 bits the metadata say 4 although Python mflux's rule packs some at 8") {
  const TinySave tiny(TinyFamily::qwen);
  SaveOptions options = tiny.options();
  options.bits = 4;
  const Planned planned(options);
  const auto transformer =
      std::ranges::find(planned.plan.components, "transformer", &PlannedComponent::name);
  REQUIRE(transformer != planned.plan.components.end());
  CHECK(transformer->metadata.at("quantization_level") == "4");
  CHECK(planned.at("transformer_blocks.0.img_mod_linear.weight").format->bits == 8);
  CHECK(planned.at("transformer_blocks.0.attn.to_q.weight").format->bits == 4);
}

TEST_CASE("options that contradict each other or the model are wrong usage") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  const auto message = [&](auto change) {
    SaveOptions changed = options;
    change(changed);
    const Error error = refusal(changed);
    CHECK(error.kind() == ErrorKind::usage);
    return std::string(error.what());
  };
  CHECK(contains(message([](SaveOptions& o) { o.bits = 7; }), "cannot quantize to 7 bits"));
  CHECK(contains(message([](SaveOptions& o) { o.group_size = 48; }), "group size 48"));
  CHECK(contains(
      message([](SaveOptions& o) {
        o.bits = {};
        o.group_size = 64;
      }),
      "--q-group-size needs --quantize"));
  CHECK(contains(
      message([](SaveOptions& o) {
        o.bits = {};
        o.quantize_at_load = true;
      }),
      "--quantize-at-load needs --quantize"));
  CHECK(contains(
      message([](SaveOptions& o) { o.layout = Layout::diffusers; }), "--layout diffusers cannot"));
  CHECK(contains(
      message([](SaveOptions& o) { o.layout = Layout::comfyui; }), "--layout comfyui cannot"));
  CHECK(contains(message([](SaveOptions& o) { o.min_kept = 1.5; }), "--min-kept 1.5"));
  CHECK(contains(message([](SaveOptions& o) { o.min_kept = -0.1; }), "--min-kept -0.1"));
  CHECK(contains(message([](SaveOptions& o) { o.max_shard_bytes = 0; }), "--max-shard-size"));
  CHECK(contains(message([](SaveOptions& o) { o.base_model = "sdxl"; }), "--base-model 'sdxl'"));
  CHECK(contains(
      message([](SaveOptions& o) {
        o.mode = QuantMode::mxfp4;
        o.bits = 8;
      }),
      "mxfp4 is always 4 bits"));
}

TEST_CASE("files of one output that differ only in case are refused before anything is written") {
  for (const std::string name : {"tokenizer/Vocab.json", "tokenizer/merges.TXT"}) {
    CAPTURE(name);
    const TinySave tiny;
    if (std::filesystem::exists(tiny.folder / "model" / name)) continue;  // on such a disk
    testing::write_file(tiny.folder / "model" / name, "another");
    const Error error = refusal(tiny.options());
    CHECK(error.kind() == ErrorKind::failed);
    CHECK(contains(error.what(), name + " and tokenizer/"));
    CHECK(contains(error.what(), "differ only in case"));
  }
}

TEST_CASE("a LoRA that does not fit is refused with all its keys, before anything is written") {
  const TinySave tiny;
  write_tiny_lora(
      tiny.folder / "lora.safetensors", TinyFamily::flux, TinyLora::misfit, TinySave::kSize);
  const Error error = refusal(tiny.options());
  CHECK(error.kind() == ErrorKind::lora);
  CHECK(contains(error.what(), "transformer.transformer_blocks.0.attn.to_q"));
  CHECK(contains(error.what(), "transformer.transformer_blocks.99.attn.to_q"));
}

TEST_CASE("ComfyUI's layout is one file with the original names, the transformer alone") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  options.layout = Layout::comfyui;
  options.max_shard_bytes = 1000;
  const Planned planned(options);
  REQUIRE(planned.plan.shards.size() == 1);
  CHECK(planned.plan.shards[0].file == "model.safetensors");
  CHECK(planned.plan.copied.empty());
  CHECK(planned.at("double_blocks.0.img_attn.qkv.weight").mapped.shape == Shape{192, 64});
}

TEST_CASE("a model that is packed already is packed again only with a note") {
  const TinySave tiny;
  SaveOptions options = tiny.options("packed");
  options.loras = {};
  save(options);
  options.model = tiny.path("packed");
  CHECK(Planned(options).plan.notes.empty());
  options.bits = 4;
  const std::vector<std::string> again = Planned(options).plan.notes;
  REQUIRE(again.size() == 1);
  CHECK(contains(again[0], "loses precision twice"));
  options.bits = 8;
  options.loras = tiny.options().loras;
  const std::vector<std::string> merged = Planned(options).plan.notes;
  REQUIRE(merged.size() == 1);
  CHECK(contains(merged[0], "so that the LoRAs survive"));
  options.rounding = BakeRounding::nearest;
  const std::vector<std::string> nearest = Planned(options).plan.notes;
  REQUIRE(nearest.size() == 1);
  CHECK(contains(nearest[0], "weights that are already quantized"));
}

TEST_CASE("a LoRA on packed weights is rounded to survive, on others as MLX rounds, unless told") {
  const TinySave tiny;
  SaveOptions packed = tiny.options("packed");
  packed.loras = {};
  save(packed);
  const auto count = [](const SaveOptions& options) {
    const Planned planned(options);
    return std::count_if(
        planned.plan.tensors.begin(), planned.plan.tensors.end(), [](const PlannedTensor& tensor) {
          CHECK((!tensor.keeps_delta || (tensor.baked() && tensor.format)));
          return tensor.keeps_delta;
        });
  };
  SaveOptions options = tiny.options();
  CHECK(count(options) == 0);
  options.rounding = BakeRounding::delta;
  CHECK(count(options) > 0);
  options.model = tiny.path("packed");
  options.bits = {};
  options.rounding = BakeRounding::automatic;
  CHECK(count(options) > 0);
  options.rounding = BakeRounding::nearest;
  CHECK(count(options) == 0);
}

TEST_CASE("tensors that are no part of a text encoder are left out with a note") {
  const TinySave tiny;
  testing::write_safetensors(
      tiny.folder / "model/text_encoder_2/more.safetensors",
      {testing::f32_tensor("decoder.final_layer_norm.weight", {1}, {1}),
       testing::f32_tensor("lm_head.weight", {1}, {1})});
  const std::vector<std::string> notes = Planned(tiny.options()).plan.notes;
  REQUIRE(notes.size() == 1);
  CHECK(contains(
      notes[0],
      "text_encoder_2: 2 tensor(s) that no picture needs are left out, such as "
      "'decoder.final_layer_norm.weight'"));
}

TEST_CASE("a folder that Python's mflux cannot load is announced as such") {
  const TinySave tiny;
  SaveOptions options = tiny.options();
  options.bits = {};
  options.mode = QuantMode::nvfp4;
  const std::vector<std::string> notes = Planned(options).plan.notes;
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "Python mflux cannot load nvfp4 folders"));
}

}  // namespace
}  // namespace mflux
