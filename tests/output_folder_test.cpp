// SPDX-License-Identifier: MIT
#include "mflux/output_folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::error_of;
using testing::FolderContents;
using testing::read_file;
using testing::TempDir;
using testing::write_file;

constexpr const char* kJournal = ".mflux-save.json";

ErrorKind kind_of_refusal(const fs::path& path, bool overwrite, const std::vector<fs::path>& in) {
  try {
    const OutputFolder folder(path, overwrite, in, "f");
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("not refused");
  return ErrorKind::failed;
}

std::string refusal(
    const fs::path& path, bool overwrite = false, const std::vector<fs::path>& inputs = {}) {
  return error_of([&] { OutputFolder(path, overwrite, inputs, "f"); });
}

BakeSums some_sums() {
  BakeSums sums;
  sums.error = {.error_sq = 0.1, .exact_sq = 1e-300, .max_error = 1.0 / 3};
  sums.loras[0] = {.cross = -1e-17, .norm = 12345.678901234567};
  sums.loras[2] = {.cross = 0, .norm = 5e-324};
  return sums;
}

// What a killed save leaves: its destructor never runs.
void leave_unfinished(const fs::path& path, bool overwrite, const std::string& fingerprint) {
  static auto& killed = *new std::vector<OutputFolder*>;  // reachable, so that no one sees a leak
  auto* folder = killed.emplace_back(new OutputFolder(path, overwrite, {}, fingerprint));
  folder->create();
  write_file(folder->prepare("vae/0.safetensors"), "shard 0");
  folder->add_finished("vae/0.safetensors", {.hash = "h0", .baked = {{"a.weight", some_sums()}}});
  write_file(folder->prepare("vae/1.safetensors"), "shard 1");
  folder->add_finished("vae/1.safetensors", {.hash = "h1"});
}

TEST_CASE("nothing is created before create(), and nothing is left without commit()") {
  const TempDir folder;
  {
    OutputFolder output(folder / "a/b/out", false, {}, "f");
    output.check_space(1);
    CHECK(contents_of(folder.path()).empty());
    output.create();
    write_file(output.prepare("vae/0.safetensors"), "x");
    write_file(output.prepare("tokenizer/deep/er/x.json"), "x");
    output.add_finished("vae/0.safetensors", {.hash = "h"});
    CHECK(fs::exists(folder / "a/b/out/vae/0.safetensors"));
  }
  CHECK(contents_of(folder.path()).empty());
}

TEST_CASE("an empty folder that was there stays, empty") {
  const TempDir folder;
  fs::create_directories(folder / "out");
  {
    OutputFolder output(folder / "out", false, {}, "f");
    output.create();
    write_file(output.prepare("vae/0.safetensors"), "x");
  }
  CHECK(contents_of(folder.path()) == FolderContents{{"out/", ""}});
}

TEST_CASE("a committed folder holds its files and indexes, and no journal") {
  const TempDir folder;
  {
    OutputFolder output(folder / "out", false, {}, "f");
    output.create();
    write_file(output.prepare("vae/0.safetensors"), "x");
    output.add_finished("vae/0.safetensors", {.hash = "h"});
    CHECK(fs::exists(folder / "out" / kJournal));
    CHECK_FALSE(fs::exists(folder / "out/vae/index.json"));
    output.publish({{"vae/index.json", "i"}});
    output.finish();
  }
  const FolderContents expected = {
      {"out/", ""}, {"out/vae/", ""}, {"out/vae/0.safetensors", "x"}, {"out/vae/index.json", "i"}};
  CHECK(contents_of(folder.path()) == expected);
}

TEST_CASE("nothing is written outside of the folder, by a name or through a link in it") {
  const TempDir folder;
  fs::create_directories(folder / "mine");
  leave_unfinished(folder / "out", false, "f");
  fs::rename(folder / "out/vae", folder / "mine/vae");
  fs::create_symlink("../mine/vae", folder / "out/vae");
  fs::create_symlink("../mine/x", folder / "out/bake.json");
  const FolderContents before = contents_of(folder.path());
  {
    OutputFolder output(folder / "out", false, {}, "f");
    output.create();
    for (const char* name : {"vae/0.safetensors", "vae/new", "vae", "bake.json"}) {
      CAPTURE(name);
      CHECK(contains(error_of([&] { output.prepare(name); }), ": a link in the output folder"));
    }
    for (const char* name : {"../mine/vae/x", "/tmp/x", "a/../../x", ""}) {
      CAPTURE(name);
      CHECK(contains(error_of([&] { output.prepare(name); }), "is not the name of a file in"));
    }
  }
  CHECK(differences(before, contents_of(folder.path())) == std::vector<std::string>{});
}

TEST_CASE("what is there already is refused as wrong usage and left alone") {
  const TempDir folder;
  fs::create_directories(folder / "full");
  write_file(folder / "full/notes.txt", "mine");
  write_file(folder / "file", "mine");
  const FolderContents before = contents_of(folder.path());
  CHECK(
      contains(refusal(folder / "full"), "is not empty; choose another --path or add --overwrite"));
  CHECK(contains(refusal(folder / "full", true), "does not look like a model"));
  CHECK(contains(refusal(folder / "file"), "exists and is not a folder"));
  CHECK(contains(refusal(""), "--path is missing"));
  for (const char* name : {"full", "file"}) {
    CHECK(kind_of_refusal(folder / name, true, {}) == ErrorKind::usage);
  }
  CHECK(contents_of(folder.path()) == before);
}

TEST_CASE("an output inside an input, around one, or the same is refused") {
  const TempDir folder;
  fs::create_directories(folder / "model/vae");
  fs::create_directories(folder / "box");
  write_file(folder / "box/lora.safetensors", "x");
  fs::create_directory_symlink("model", folder / "link");
  const std::vector<fs::path> inputs = {folder / "model", folder / "box/lora.safetensors"};
  const auto with_inputs = [&](const std::string& path) {
    return refusal(folder / path, true, inputs);
  };
  CHECK(contains(with_inputs("model/out"), "the output is inside the input"));
  CHECK(contains(with_inputs("model/vae/deep/out"), "the output is inside the input"));
  CHECK(contains(with_inputs("link/out"), "the output is inside the input"));
  CHECK(contains(with_inputs("box/../model/out"), "the output is inside the input"));
  CHECK(contains(with_inputs("model"), "the output is inside the input"));
  CHECK(contains(with_inputs("box"), "is inside the output"));
  CHECK(contains(with_inputs("."), "is inside the output"));
  CHECK(kind_of_refusal(folder / "model/out", false, inputs) == ErrorKind::usage);
  CHECK(with_inputs("model-out") == "");
  CHECK(with_inputs("mod") == "");
  CHECK(with_inputs("box/../out") == "");
}

TEST_CASE("an output reached through a symbolic link is where the link leads") {
  const TempDir folder;
  fs::create_directories(folder / "disk");
  fs::create_directory_symlink("disk", folder / "link");
  {
    OutputFolder output(folder / "link/out/", false, {}, "f");
    output.create();
    output.publish({{"vae/index.json", "i"}});
    output.finish();
  }
  CHECK(read_file(folder / "disk/out/vae/index.json") == "i");
  CHECK(fs::is_symlink(folder / "link"));
}

TEST_CASE("too little space names the place, what is free and what is needed") {
  const TempDir folder;
  const OutputFolder output(folder / "a/b", false, {}, "f");
  const std::string error = error_of([&] { output.check_space(uint64_t{1} << 62); });
  CHECK(contains(error, folder.path().string() + ": not enough space: "));
  CHECK(contains(error, "4611686018.43 GB are needed"));
}

TEST_CASE("a folder to be replaced stays whole until the new one is complete") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  write_file(folder / "out/transformer/0.safetensors", "old");
  write_file(folder / "out/extra", "old");
  const FolderContents before = contents_of(folder / "out");
  {
    OutputFolder output(folder / "out", true, {}, "f");
    output.create();
    write_file(output.prepare("transformer/0.safetensors"), "new");
    CHECK(contents_of(folder / "out") == before);
  }
  CHECK(contents_of(folder / "out") == before);
  CHECK(contents_of(folder.path()).size() == before.size() + 1);  // nothing beside it
  {
    OutputFolder output(folder / "out", true, {}, "f");
    output.create();
    write_file(output.prepare("transformer/0.safetensors"), "new");
    output.publish({{"transformer/index.json", "i"}});
    output.finish();
  }
  const FolderContents expected = {
      {"out/", ""},
      {"out/transformer/", ""},
      {"out/transformer/0.safetensors", "new"},
      {"out/transformer/index.json", "i"}};
  CHECK(contents_of(folder.path()) == expected);
}

TEST_CASE("the same save goes on after a kill, with the sums of its finished shards") {
  const TempDir folder;
  leave_unfinished(folder / "out", false, "same");
  const OutputFolder output(folder / "out", false, {}, "same");
  REQUIRE(output.finished().size() == 2);
  const FinishedShard& shard = output.finished().at("vae/0.safetensors");
  CHECK(shard.hash == "h0");
  const BakeSums& sums = shard.baked.at("a.weight");
  const BakeSums expected = some_sums();
  CHECK(sums.error.error_sq == expected.error.error_sq);
  CHECK(sums.error.exact_sq == expected.error.exact_sq);
  CHECK(sums.error.max_error == expected.error.max_error);
  REQUIRE(sums.loras.size() == 2);
  CHECK(sums.loras.at(0).cross == expected.loras.at(0).cross);
  CHECK(sums.loras.at(0).norm == expected.loras.at(0).norm);
  CHECK(sums.loras.at(2).norm == expected.loras.at(2).norm);
  CHECK(output.finished().at("vae/1.safetensors").hash == "h1");
}

TEST_CASE("a save that goes on and fails keeps what is finished") {
  const TempDir folder;
  leave_unfinished(folder / "out", false, "same");
  const FolderContents before = contents_of(folder.path());
  {
    OutputFolder output(folder / "out", false, {}, "same");
    output.create();
  }
  CHECK(contents_of(folder.path()) == before);
}

TEST_CASE("another save is not mixed with an unfinished one") {
  const TempDir folder;
  leave_unfinished(folder / "out", false, "same");
  const FolderContents before = contents_of(folder.path());
  CHECK(contains(refusal(folder / "out"), "holds an unfinished save with other inputs or options"));
  CHECK(contents_of(folder.path()) == before);
  {
    OutputFolder output(folder / "out", true, {}, "other");
    CHECK(output.finished().empty());
    output.create();
    output.publish({{"vae/index.json", "i"}});
    output.finish();
  }
  CHECK(contents_of(folder / "out") == FolderContents{{"vae/", ""}, {"vae/index.json", "i"}});
}

TEST_CASE("a finished shard that is gone is made again") {
  const TempDir folder;
  leave_unfinished(folder / "out", false, "same");
  fs::remove(folder / "out/vae/0.safetensors");
  const OutputFolder output(folder / "out", false, {}, "same");
  CHECK(output.finished().count("vae/0.safetensors") == 0);
  CHECK(output.finished().count("vae/1.safetensors") == 1);
}

TEST_CASE("a replacement goes on beside the old folder after a kill") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  leave_unfinished(folder / "out", true, "same");
  CHECK(contents_of(folder / "out") == FolderContents{{"transformer/", ""}});
  {
    OutputFolder output(folder / "out", true, {}, "same");
    CHECK(output.finished().size() == 2);
    output.create();
    output.publish({{"vae/index.json", "i"}});
    output.finish();
  }
  const FolderContents expected = {
      {"out/", ""},
      {"out/vae/", ""},
      {"out/vae/0.safetensors", "shard 0"},
      {"out/vae/1.safetensors", "shard 1"},
      {"out/vae/index.json", "i"}};
  CHECK(contents_of(folder.path()) == expected);
}

TEST_CASE("a replacement with other options begins again") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  leave_unfinished(folder / "out", true, "same");
  const OutputFolder output(folder / "out", true, {}, "other");
  CHECK(output.finished().empty());
}

TEST_CASE("a journal that makes no sense is no journal") {
  for (const std::string journal :
       {"",
        "{",
        "[]",
        "null",
        R"({"fingerprint":"f"})",
        R"({"fingerprint":"f","shards":{"vae/0.safetensors":1}})",
        R"({"fingerprint":"f","shards":{"vae/0.safetensors":{"xxh3_128":1,"baked":{}}}})"}) {
    CAPTURE(journal);
    const TempDir folder;
    leave_unfinished(folder / "out", false, "f");
    write_file(folder / "out" / kJournal, journal);
    CHECK(contains(refusal(folder / "out"), "unfinished save"));
    const OutputFolder output(folder / "out", true, {}, "f");
    CHECK(output.finished().empty());
  }
}

}  // namespace
}  // namespace mflux
