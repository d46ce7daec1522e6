// SPDX-License-Identifier: MIT
#include "mflux/lora/files.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "mflux/safetensors/index.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora {
namespace {

namespace fs = std::filesystem;
using mflux::testing::error_of;
using mflux::testing::write_file;
using testing::contains;
using testing::delta;
using testing::flux;
using testing::LoraFile;
using testing::require_clean;
using testing::TempDir;

const std::string kLayer = "transformer_blocks.0.ff.net.0.proj";
const std::string kTensor = "transformer/transformer_blocks.0.ff.net.0.proj.weight";

// A and B of one layer, each in a file of its own, and what both give in one.
struct Shards {
  LoraFile a = {};
  LoraFile b = {};
  std::vector<double> expected = {};

  Shards() {
    const auto down = a.add(kLayer + ".lora_A.weight", {4, 64});
    const auto up = b.add(kLayer + ".lora_B.weight", {192, 4});
    expected = testing::product(up, down, 4);
  }
};

constexpr std::string_view kFirst = "x-00001-of-00002.safetensors";
constexpr std::string_view kSecond = "x-00002-of-00002.safetensors";

void write_index(const TempDir& folder) {
  write_file(
      folder / "x.safetensors.index.json",
      fmt::format(
          R"({{"metadata": {{}}, "weight_map": {{"{0}.lora_A.weight": "{1}", "{0}.lora_B.weight": "{2}"}}}})",
          kLayer,
          kFirst,
          kSecond));
}

void check_reads(const fs::path& path, const Shards& shards) {
  const LoraSpec spec{.file = path};
  const Loaded loaded = load({&spec, 1}, flux());
  require_clean(loaded);
  const bool same = delta(loaded, flux(), kTensor) == shards.expected;
  CHECK(same);
  CHECK(loaded.adapters.front().files.size() == 2);
}

ErrorKind kind_of(const fs::path& path) {
  try {
    lora_files(path);
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("no error");
  return ErrorKind::failed;
}

TEST_CASE("a sharded LoRA is read as one, by its folder or its index") {
  const TempDir folder;
  const Shards shards;
  shards.a.write(folder, kFirst);
  shards.b.write(folder, kSecond);
  check_reads(folder.path(), shards);
  write_index(folder);
  check_reads(folder / "x.safetensors.index.json", shards);
}

TEST_CASE("a shard that is not there is a refusal that names it") {
  const TempDir folder;
  const Shards shards;
  const fs::path first = shards.a.write(folder, kFirst);
  CHECK(
      contains(error_of([&] { lora_files(folder.path()); }), "shard 2 of 2 of this sharded LoRA"));
  CHECK(kind_of(folder.path()) == ErrorKind::lora);
  CHECK(contains(error_of([&] { lora_files(first); }), "is shard 1 of 2"));
  CHECK(kind_of(first) == ErrorKind::lora);
  write_index(folder);
  const fs::path index = folder / "x.safetensors.index.json";
  CHECK(contains(error_of([&] { lora_files(index); }), std::string(kSecond)));
  CHECK(kind_of(index) == ErrorKind::lora);
}

TEST_CASE("a shard whose name no file system could hold is refused") {
  const TempDir folder;
  const std::string name = std::string(5000, 'x') + ".safetensors";
  const std::vector<safetensors::IndexEntry> entries = {{"a", name}};
  const fs::path index = folder / "x.safetensors.index.json";
  write_file(index, safetensors::format_index(entries, {}, 4));
  CHECK(
      contains(error_of([&] { lora_files(index); }), "expected the name of a file in this folder"));
}

TEST_CASE("the first, a middle and the last shard may be the one that is missing") {
  for (size_t missing = 1; missing <= 3; ++missing) {
    const TempDir folder;
    for (size_t i = 1; i <= 3; ++i) {
      if (i != missing) write_file(folder / fmt::format("x-0000{}-of-00003.safetensors", i), "");
    }
    CHECK(contains(
        error_of([&] { lora_files(folder.path()); }), fmt::format("shard {} of 3", missing)));
  }
}

TEST_CASE("shards are in the order of their numbers, padded or not") {
  const TempDir folder;
  std::vector<fs::path> expected;
  for (size_t i = 1; i <= 11; ++i) {
    expected.push_back(folder / fmt::format("x-{}-of-11.safetensors", i));
    write_file(expected.back(), "");
  }
  CHECK(lora_files(folder.path()) == expected);
}

TEST_CASE("names that only look like shards are files") {
  for (const std::string name :
       {"best-of-me.safetensors",
        "x-1-of-1.safetensors",
        "x-3-of-2.safetensors",
        "2-of.safetensors"}) {
    CAPTURE(name);
    CHECK(lora_files(name) == std::vector<fs::path>{name});
  }
  CHECK(kind_of("style-00002-of-00010.safetensors") == ErrorKind::lora);
}

TEST_CASE("shards of two LoRAs, a stranger among them, and one tensor in two of them are told") {
  const Shards shards;
  const TempDir two;
  shards.a.write(two, kFirst);
  shards.b.write(two, "y-00002-of-00002.safetensors");
  CHECK(contains(error_of([&] { lora_files(two.path()); }), "not a shard of the same LoRA"));
  const TempDir twice;
  shards.a.write(twice, kFirst);
  shards.a.write(twice, kSecond);
  const LoraSpec spec{.file = twice.path()};
  CHECK(contains(error_of([&] { load({&spec, 1}, flux()); }), "is in another shard too"));
  const TempDir empty;
  CHECK(contains(error_of([&] { lora_files(empty.path()); }), "holds no .safetensors file"));
}

}  // namespace
}  // namespace mflux::lora
