// SPDX-License-Identifier: MIT
#include "mflux/bake/output_folder.h"

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/output_folders.h"
#include "tests/skip.h"
#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::add_shard;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::error_of;
using testing::FolderContents;
using testing::leave_unfinished;
using testing::read_file;
using testing::save_whole;
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

TEST_CASE("nothing is created before create(), and nothing is left without commit()") {
  const TempDir folder;
  {
    OutputFolder output(folder / "a/b/out", false, {}, "f");
    output.check_disk(1);
    CHECK(contents_of(folder.path()).empty());
    output.create();
    write_file(output.prepare("vae/0.safetensors"), "x");
    write_file(output.prepare("tokenizer/deep/er/x.json"), "x");
    output.add_finished("vae/0.safetensors", {.hash = "h", .bytes = 1});
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
    add_shard(output, "vae/0.safetensors", "x");
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
  // Shards behind the link are nobody's, so the journal has them no more.
  const std::vector<std::string> journal = {"out/.mflux-save.json"};
  CHECK(differences(before, contents_of(folder.path())) == journal);
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
  const std::string error = error_of([&] { output.check_disk(uint64_t{1} << 62); });
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

#if defined(__linux__)
TEST_CASE("where a disk is mounted nothing can be replaced, and that is said at once") {
  const TempDir in_memory;  // so that it is not empty
  const fs::path mounted = fs::path("/dev/shm");
  if (!contains(in_memory.path().string(), mounted.string())) return testing::skip("no /dev/shm");
  CHECK(contains(refusal(mounted, true), "is where a disk or volume is mounted"));
}
#endif

TEST_CASE("what macOS leaves in an empty folder is nothing") {
  const TempDir folder;
  fs::create_directories(folder / "out");
  write_file(folder / "out/.DS_Store", "x");
  save_whole(folder / "out", false, "f");
  CHECK(read_file(folder / "out/vae/index.json") == "i");
}

}  // namespace
}  // namespace mflux
