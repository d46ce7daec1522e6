// SPDX-License-Identifier: MIT
#include "mflux/safetensors/folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/safetensors/file_name.h"
#include "tests/testing.h"

namespace mflux::safetensors {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::error_of;
using testing::f32_tensor;
using testing::TempDir;
using testing::write_file;
using testing::write_safetensors;

constexpr float kMain = 1;
constexpr float kVariant = 2;

void add_file(const TempDir& folder, const std::string& name, const std::string& tensor, float x) {
  write_safetensors(folder / name, {f32_tensor(tensor, {1}, {x})});
}

void add_index(const TempDir& folder, const std::string& name, const std::string& first) {
  std::string second = first;
  second.replace(second.find("00001-of"), 5, "00002");
  const std::vector<IndexEntry> entries = {{"a", first}, {"b", second}};
  write_file(folder / name, format_index(entries, {}, 8));
}

// Two shards, the first of which is called so.
void add_shards(const TempDir& folder, const std::string& first, float x) {
  std::string second = first;
  second.replace(second.find("00001-of"), 5, "00002");
  add_file(folder, first, "a", x);
  add_file(folder, second, "b", x);
}

// The first number of tensor "a".
float value_of(const TensorFolder& folder) {
  const StoredTensor* tensor = folder.find("a");
  REQUIRE(tensor != nullptr);
  float value = 0;
  folder.files[tensor->file].file.read(
      tensor->info.offset, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

TEST_CASE("a file's name says variant and shard") {
  struct Case {
    const char* name;
    bool index;
    const char* stem;
    const char* variant;
    uint64_t shard;
    uint64_t shards;
  };
  const std::vector<Case> table = {
      {"model.safetensors", false, "model", "", 0, 0},
      {"0.safetensors", false, "0", "", 0, 0},
      {"model.fp16.safetensors", false, "model", "fp16", 0, 0},
      {"model-00001-of-00002.safetensors", false, "model", "", 1, 2},
      {"model-00002-of-00002.fp16.safetensors", false, "model", "fp16", 2, 2},
      {"model.bf16-00001-of-00003.safetensors", false, "model", "bf16", 1, 3},
      {"part.2.safetensors", false, "part.2", "", 0, 0},
      {"a-3-of-2.safetensors", false, "a-3-of-2", "", 0, 0},
      {"a-x-of-2.safetensors", false, "a-x-of-2", "", 0, 0},
      {"model.safetensors.index.json", true, "model", "", 0, 0},
      {"model.safetensors.index.fp16.json", true, "model", "fp16", 0, 0},
      {"model.fp16.safetensors.index.json", true, "model", "fp16", 0, 0},
  };
  for (const Case& c : table) {
    CAPTURE(c.name);
    const auto name = parse_file_name(c.name);
    REQUIRE(name);
    CHECK(name->index == c.index);
    CHECK(name->stem == c.stem);
    CHECK(name->variant == c.variant);
    CHECK(name->shard == c.shard);
    CHECK(name->shards == c.shards);
  }
  for (const char* other :
       {"config.json", "._model.safetensors", ".safetensors", "x.bin", "x.json", ".index.json"}) {
    CAPTURE(other);
    CHECK_FALSE(parse_file_name(other));
  }
}

TEST_CASE("a variant beside the main files is never read") {
  struct Case {
    const char* main;
    const char* main_index;  // "" where there is none
    const char* variant;
    const char* variant_index;
  };
  const std::vector<Case> table = {
      {"m.safetensors", "", "m.fp16.safetensors", ""},
      {"m.safetensors", "", "m.fp16-00001-of-00002.safetensors", "m.safetensors.index.fp16.json"},
      {"m.safetensors", "", "m-00001-of-00002.fp16.safetensors", "m.fp16.safetensors.index.json"},
      {"m.safetensors", "", "m-00001-of-00002.bf16.safetensors", ""},
      {"m-00001-of-00002.safetensors",
       "m.safetensors.index.json",
       "m-00001-of-00002.fp16.safetensors",
       "m.safetensors.index.fp16.json"},
      {"m-00001-of-00002.safetensors", "", "m.fp16.safetensors", ""},
      {"m-00001-of-00002.safetensors", "m.safetensors.index.json", "m.fp16.safetensors", ""},
  };
  const auto add =
      [](const TempDir& folder, const std::string& name, const std::string& index, float x) {
        if (contains(name, "-of-")) {
          add_shards(folder, name, x);
        } else {
          add_file(folder, name, "a", x);
        }
        if (!index.empty()) add_index(folder, index, name);
      };
  for (const Case& c : table) {
    CAPTURE(c.main);
    CAPTURE(c.variant);
    CAPTURE(c.variant_index);
    const TempDir folder;
    add(folder, c.main, c.main_index, kMain);
    add(folder, c.variant, c.variant_index, kVariant);
    CHECK(value_of(open_folder(folder.path())) == kMain);
    const TempDir alone;
    add(alone, c.variant, c.variant_index, kVariant);
    CHECK(value_of(open_folder(alone.path())) == kVariant);
  }
}

TEST_CASE("of two variants without a main file none is chosen") {
  const TempDir folder;
  add_file(folder, "m.fp16.safetensors", "a", 1);
  add_file(folder, "m.bf16.safetensors", "a", 2);
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }), "variants bf16 and fp16 but no main file"));
}

TEST_CASE("without an index the numbers of the shards must be complete") {
  const TempDir folder;
  add_file(folder, "m-00001-of-00003.safetensors", "a", 1);
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }),
      "1 of 3 shards of 'm' are there, without an index; shard 2 is missing"));
  add_file(folder, "m-00003-of-00003.safetensors", "c", 1);
  CHECK(contains(error_of([&] { open_folder(folder.path()); }), "shard 2 is missing"));
  add_file(folder, "m-00002-of-00003.safetensors", "b", 1);
  CHECK(open_folder(folder.path()).tensors.size() == 3);
}

TEST_CASE("an index may name a file that no file system could hold") {
  for (const size_t length : {300U, 5000U}) {
    const TempDir folder;
    const std::string name = std::string(length, 'x') + ".safetensors";
    const std::vector<IndexEntry> entries = {{"a", name}};
    write_file(folder / "model.safetensors.index.json", format_index(entries, {}, 4));
    CHECK(
        contains(error_of([&] { open_folder(folder.path()); }), "expected the name of a file in"));
  }
}

TEST_CASE("what a download left unfinished is named") {
  const TempDir folder;
  write_file(folder / "m.safetensors.incomplete", "x");
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }),
      "holds m.safetensors.incomplete but no .safetensors file; an unfinished download"));
  add_file(folder, "0.safetensors", "a", 1);
  CHECK(contains(error_of([&] { open_folder(folder.path()); }), "is an unfinished download"));
  fs::remove(folder / "m.safetensors.incomplete");
  fs::create_symlink("../../blobs/0123", folder / "1.safetensors");
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }),
      "1.safetensors: a link to ../../blobs/0123, which is not there"));
}

TEST_CASE("what a Mac leaves in a folder is not read") {
  const TempDir folder;
  add_file(folder, "m.safetensors", "a", kMain);
  for (const char* name : {"._m.safetensors", ".DS_Store", "._m.safetensors.index.json"}) {
    write_file(folder / name, "Mac OS X");
  }
  CHECK(value_of(open_folder(folder.path())) == kMain);
}

}  // namespace
}  // namespace mflux::safetensors
