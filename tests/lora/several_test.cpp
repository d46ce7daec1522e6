// SPDX-License-Identifier: MIT
// Several LoRAs on one model, and going on without those that have problems.
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/load.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using testing::contains;
using testing::delta;
using testing::flux;
using testing::LoraFile;
using testing::numbers;
using testing::product;
using testing::require_clean;
using testing::TempDir;

const std::string kFf = "transformer.transformer_blocks.0.ff.net.0.proj";
const std::string kFfTensor = "transformer/transformer_blocks.0.ff.net.0.proj.weight";
const std::string kMlp = "lora_unet_single_blocks_0_linear1";

LoraFile pair_of(const std::string& module, uint64_t outputs, uint64_t rank) {
  LoraFile file;
  file.add(module + ".lora_down.weight", {rank, 64});
  file.add(module + ".lora_up.weight", {outputs, rank});
  return file;
}

std::vector<double> product_of(
    const std::string& module, uint64_t outputs, uint64_t rank, double scale) {
  return product(
      numbers(module + ".lora_up.weight", outputs * rank),
      numbers(module + ".lora_down.weight", rank * 64),
      rank,
      scale);
}

TEST_CASE("several LoRAs add up, in the order given") {
  const TempDir folder;
  const std::string bfl = "diffusion_model.double_blocks.0.img_mlp.0";
  const std::vector<LoraSpec> specs = {
      {pair_of(kFf, 192, 2).write(folder, "a.safetensors"), 0.5},
      {pair_of(bfl, 192, 4).write(folder, "b.safetensors"), -2},
      {pair_of(kFf, 192, 2).write(folder, "c.safetensors"), 1}};
  const Loaded loaded = load(specs, flux());
  require_clean(loaded);
  REQUIRE(loaded.adapters.size() == 3);
  const auto all = contributions(loaded);
  const std::vector<Contribution>& list = all.at(kFfTensor);
  REQUIRE(list.size() == 3);
  for (size_t i = 0; i < list.size(); ++i) {
    CHECK(list[i].adapter == i);
    CHECK(list[i].update == &loaded.adapters[i].updates.front());
    CHECK(list[i].update->scale == specs[i].scale);
    CHECK(loaded.adapters[i].path == specs[i].file);
    CHECK(loaded.adapters[i].scale == specs[i].scale);
  }
  std::vector<double> expected = product_of(kFf, 192, 2, 1.5);
  const std::vector<double> second = product_of(bfl, 192, 4, -2);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += second[i];
  const bool exact = delta(loaded, flux(), kFfTensor) == expected;
  CHECK(exact);
}

TEST_CASE("contributions tell which rows of the update are which rows of the tensor") {
  const TempDir folder;
  const LoraSpec spec{pair_of(kMlp, 384, 2).write(folder)};
  const Loaded loaded = load({&spec, 1}, flux());
  require_clean(loaded);
  const auto all = contributions(loaded);
  const std::string block = "transformer/single_transformer_blocks.0.";
  uint64_t begin = 0;
  for (const auto& [tensor, count] : std::vector<std::pair<std::string, uint64_t>>{
           {"attn.to_q", 64}, {"attn.to_k", 64}, {"attn.to_v", 64}, {"proj_mlp", 192}}) {
    CAPTURE(tensor);
    const Contribution& item = all.at(block + tensor + ".weight").at(0);
    CHECK(item.begin == 0);
    CHECK(item.count == count);
    CHECK(item.update_begin == begin);
    begin += count;
  }
}

TEST_CASE("any rows of an update can be read by themselves") {
  const TempDir folder;
  LoraFile file = pair_of(kFf, 192, 2);
  const LoraSpec spec{file.write(folder), 0.5};
  const Loaded loaded = load({&spec, 1}, flux());
  require_clean(loaded);
  const Update& update = loaded.adapters.front().updates.front();
  const std::vector<double> whole = product_of(kFf, 192, 2, 0.5);
  for (const uint64_t begin : {uint64_t{0}, uint64_t{1}, uint64_t{191}}) {
    const bool same = testing::values_of(update, begin, 1) == testing::rows_of(whole, 64, begin, 1);
    CHECK(same);
  }
}

// One good file; one with a good layer and one of the wrong shape.
struct TwoFiles {
  TempDir folder = {};
  std::vector<LoraSpec> specs = {};

  TwoFiles() {
    specs.push_back({pair_of(kFf, 192, 2).write(folder, "good.safetensors")});
    LoraFile file = pair_of(kFf, 192, 4);
    file.add("transformer.transformer_blocks.1.ff.net.0.proj.lora_down.weight", {2, 64});
    file.add("transformer.transformer_blocks.1.ff.net.0.proj.lora_up.weight", {64, 2});
    specs.push_back({file.write(folder, "bad.safetensors")});
  }
};

TEST_CASE("a problem is told with its file, its module and both shapes") {
  const TwoFiles files;
  const Loaded loaded = load(files.specs, flux());
  REQUIRE(loaded.problems.size() == 1);
  CHECK(loaded.problems.front().adapter == 1);
  CHECK(contains(loaded.problems.front().file, "bad.safetensors"));
  CHECK(loaded.problems.front().module == "transformer.transformer_blocks.1.ff.net.0.proj");
  const std::string text = describe(loaded.problems);
  CHECK(contains(text, "bad.safetensors: 1 problem\n"));
  CHECK(contains(text, "the LoRA gives 64 x 64"));
  CHECK(contains(text, "the layer is 192 x 64"));
  CHECK(contains(text, "[shape-mismatch]"));
}

TEST_CASE("dropping layers leaves everything that fits") {
  const TwoFiles files;
  Loaded loaded = load(files.specs, flux());
  drop(loaded, Drop::layers);
  CHECK(loaded.problems.empty());
  CHECK(contributions(loaded).at(kFfTensor).size() == 2);
  CHECK(contributions(loaded).size() == 1);
  CHECK(contains(loaded.notes.back(), "skipped"));
}

TEST_CASE("dropping LoRAs leaves out the files that have a problem") {
  const TwoFiles files;
  Loaded loaded = load(files.specs, flux());
  drop(loaded, Drop::loras);
  CHECK(loaded.problems.empty());
  const auto all = contributions(loaded);
  REQUIRE(all.at(kFfTensor).size() == 1);
  CHECK(all.at(kFfTensor).front().adapter == 0);
  REQUIRE(loaded.adapters.size() == 2);
  CHECK(loaded.adapters[1].updates.empty());
  for (const KeyRecord& key : loaded.adapters[1].keys) {
    CAPTURE(key.key);
    CHECK_FALSE(key.used);
    CHECK(key.tensors.empty());
    CHECK_FALSE(key.reason.empty());
  }
}

TEST_CASE("a problem of the whole file drops the file even where layers would do") {
  const TempDir folder;
  LoraFile file = pair_of(kFf, 192, 2);
  file.metadata["ss_base_model_version"] = "qwen_image";
  const LoraSpec spec{file.write(folder)};
  Loaded loaded = load({&spec, 1}, flux());
  REQUIRE(loaded.problems.size() == 1);
  drop(loaded, Drop::layers);
  CHECK(contributions(loaded).empty());
}

TEST_CASE("strength 0 is loaded with a scale of 0") {
  const TempDir folder;
  const LoraSpec spec{pair_of(kFf, 192, 2).write(folder), 0};
  const Loaded loaded = load({&spec, 1}, flux());
  require_clean(loaded);
  CHECK(loaded.adapters.front().updates.front().scale == 0);
}

}  // namespace
}  // namespace mflux::lora
