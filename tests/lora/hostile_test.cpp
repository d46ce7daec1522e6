// SPDX-License-Identifier: MIT
// LoRA files that are too much, that hold nothing, or that become shorter while they are in use.
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/lora/survey.h"
#include "tests/cost.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

using mflux::testing::error_of;
using mflux::testing::TestTensor;
using testing::contains;
using testing::flux;
using testing::load_file;
using testing::LoraFile;
using testing::TempDir;

const std::string kLayer = "transformer.transformer_blocks.0.attn.to_q";
constexpr uint64_t kHidden = 64;

LoraFile many_keys(size_t count) {
  LoraFile file;
  for (size_t i = 0; i < count; ++i) file.add_value(fmt::format("layer{}.alpha", i), 1);
  return file;
}

TEST_CASE("a LoRA of more keys than any model has places for is refused by the limit's name") {
  const std::string message = error_of([] { load_file(many_keys(20'001), flux()); });
  CHECK(contains(message, "x.safetensors: holds 20001 tensors, more than the 20000"));
  CHECK(load_file(many_keys(20'000), flux()).problems.size() == 20'000);
}

// Every key's record tells why it was left out: what all keys have in common must be short.
TEST_CASE("a message does not list what a thousand keys have in common") {
  const auto check = [](const char* pattern) {
    LoraFile file;
    for (int i = 0; i < 19'000; ++i) {
      file.add(fmt::format(fmt::runtime(pattern), kLayer, i), {1, 1, 1});
    }
    CAPTURE(pattern);
    std::string message;
    const auto peak = mflux::testing::peak_bytes_of(
        [&] { message = testing::only_problem(load_file(file, flux())).message; });
    CHECK(message.size() < 2000);
    CHECK(peak.value_or(0) < 150'000'000);
    return message;
  };
  CHECK(contains(check("{}.oft_blocks.{}"), "and 18984 more"));
  CHECK(contains(check("{}.lora_A.n{}.weight"), "holds 19000 adapters (n0, n1, "));
  CHECK(contains(check("{}.hada_w1_a.n{}"), ", ...), and a LoRA file can hold one"));
}

TEST_CASE("the names of a LoRA have a common limit") {
  LoraFile file;
  for (int i = 0; i < 2100; ++i) file.add_value(fmt::format("{:x<950}{}.alpha", "", i), 1);
  const std::string message = error_of([&] { load_file(file, flux()); });
  CHECK(contains(message, "x.safetensors: the names of its tensors have "));
  CHECK(contains(message, "more than the 2000000 that a LoRA's may have"));
}

TEST_CASE("shards of a LoRA have a common limit, and no tensor twice") {
  const TempDir folder;
  const std::filesystem::path index = folder / "l.safetensors.index.json";
  const auto write = [&](const LoraFile& first, const LoraFile& second) {
    first.write(folder, "l-00001-of-00002.safetensors");
    second.write(folder, "l-00002-of-00002.safetensors");
    mflux::testing::write_file(
        index,
        R"({"weight_map":{"a":"l-00001-of-00002.safetensors","b":"l-00002-of-00002.safetensors"}})");
    const LoraSpec spec{.file = index};
    return error_of([&] { load({&spec, 1}, flux()); });
  };
  CHECK(contains(write(many_keys(15'000), many_keys(15'000)), "holds 30000 tensors"));
  CHECK(contains(
      write(many_keys(3), many_keys(1)),
      "l-00002-of-00002.safetensors: the tensor 'layer0.alpha' is in another shard too"));
}

// Names that were, one by one, taken apart again and again.
TEST_CASE("names of a thousand bytes are told from known ones in time") {
  for (const char* part :
       {".layers.0",
        "a.",
        "base_model.model.",
        "transformer.",
        "lora_unet_",
        "module.",
        "_",
        "1",
        ".lora_A.",
        "module_",
        "text_encoder.",
        ".processor."}) {
    for (const char* ending : {".lora_A.weight", ".lora_Q", ".alpha"}) {
      CAPTURE(part);
      CAPTURE(ending);
      LoraFile file;
      for (int i = 0; i < 1000; ++i) {
        std::string name;
        while (name.size() < 940) name += part;
        file.add_value(fmt::format("{}{}{}", name, i, ending), 1);
      }
      Loaded loaded;
      const double seconds = mflux::testing::seconds_of([&] { loaded = load_file(file, flux()); });
      CHECK(!loaded.problems.empty());
      CHECK(seconds < 3);  // of 1 MB; it is a fifth of a second
    }
  }
}

TEST_CASE("an ending of a known layer is still told when it has several parts") {
  LoraFile file;
  file.add_value(kLayer + ".a.b.c.lora_Q", 1);
  CHECK(contains(
      testing::only_problem(load_file(file, flux())).message,
      "the layer transformer_blocks.0.attn.to_q is known, the ending '.a.b.c.lora_Q' is not"));
}

TEST_CASE("a long text about the software is no name of a trainer") {
  LoraFile file;
  file.add(kLayer + ".lora_A.weight", {4, kHidden});
  file.add(kLayer + ".lora_B.weight", {kHidden, 4});
  const TempDir folder;
  file.metadata = {{"software", R"({"name": "ai-toolkit"})"}};
  CHECK(survey(file.write(folder), models::lora_families()).trainer.name == "ai-toolkit");
  for (const char open : {'[', '{', 'x'}) {
    file.metadata = {{"software", std::string(5'000'000, open)}};
    CHECK(survey(file.write(folder), models::lora_families()).trainer.name.size() < 100);
  }
}

struct Shaped {
  std::string ending;
  Shape shape;
};

TEST_CASE("tensors without values are refused, whatever the algorithm") {
  constexpr uint64_t h = kHidden;
  const std::vector<std::vector<Shaped>> table = {
      {{".lora_A.weight", {0, h}}, {".lora_B.weight", {h, 0}}},
      {{".lora_A.weight", {4, 0}}, {".lora_B.weight", {h, 4}}},
      {{".lora_down.weight", {4, h}}, {".lora_up.weight", {h, 4}}, {".lora_mid.weight", {4, 0}}},
      {{".lora_A.weight", {4, h}}, {".lora_B.weight", {h, 4}}, {".lora_magnitude_vector", {0}}},
      {{".oft_blocks", {0, h, h}}},
      {{".oft_blocks", {4, 0, 0}}},
      {{".oft_blocks", {0, 4, 16, 16}}},
      {{".oft_blocks", {2, 0, 0, 0}}},
      {{".oft_R.weight", {0, 6}}},
      {{".oft_R.weight", {4, 0}}},
      {{".hada_w1_a", {h, 0}},
       {".hada_w1_b", {0, h}},
       {".hada_w2_a", {h, 0}},
       {".hada_w2_b", {0, h}}},
      {{".lokr_w1", {0, 8}}, {".lokr_w2", {8, 8}}},
      {{".lokr_w1", {8, 8}}, {".lokr_w2_a", {8, 0}}, {".lokr_w2_b", {0, 8}}},
      {{".a1.weight", {h, 0}},
       {".a2.weight", {0, h}},
       {".b1.weight", {h, 0}},
       {".b2.weight", {0, h}}},
      {{".on_input", {}}, {".weight", {0}}},
      {{".diff", {h, 0}}},
      {{".diff_b", {0}}},
      {{".set_weight", {0, h}}},
  };
  for (const std::vector<Shaped>& tensors : table) {
    LoraFile file;
    for (const Shaped& tensor : tensors) file.add(kLayer + tensor.ending, tensor.shape);
    CAPTURE(tensors.front().ending);
    const Loaded loaded = load_file(file, flux());
    REQUIRE(!loaded.problems.empty());
    CHECK(loaded.adapters.front().updates.empty());
    const TempDir folder;
    CHECK(!survey(file.write(folder), models::lora_families()).problems.empty());
  }
}

// An update of a file that is cut once it is loaded.
void check_cut(const LoraFile& file, const std::string& layer) {
  const TempDir folder;
  const LoraSpec spec{.file = file.write(folder)};
  const Loaded loaded = load({&spec, 1}, flux());
  testing::require_clean(loaded);
  CHECK(!testing::delta(loaded, flux(), layer).empty());
  std::filesystem::resize_file(spec.file, std::filesystem::file_size(spec.file) / 2);
  const std::string message = error_of([&] { testing::delta(loaded, flux(), layer); });
  CHECK(contains(message, "x.safetensors: ends at byte"));
  std::filesystem::resize_file(spec.file, 0);
  CHECK(contains(
      error_of([&] { testing::delta(loaded, flux(), layer); }), "x.safetensors: ends at byte"));
}

TEST_CASE("a LoRA that becomes shorter while it is in use is an error that names it") {
  const std::string tensor = "transformer/transformer_blocks.0.attn.to_q.weight";
  LoraFile pair;
  pair.add(kLayer + ".lora_A.weight", {4, kHidden});
  pair.add(kLayer + ".lora_B.weight", {kHidden, 4});
  check_cut(pair, tensor);
  LoraFile difference;
  difference.add(kLayer + ".diff", {kHidden, kHidden});
  check_cut(difference, tensor);
}

}  // namespace
}  // namespace mflux::lora
