// SPDX-License-Identifier: MIT
#include "mflux/output_folder.h"

#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/file.h"
#include "tests/folders.h"
#include "tests/skip.h"
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

std::string refusal_of(const fs::path& path, bool overwrite, const std::string& fingerprint) {
  return error_of([&] { OutputFolder(path, overwrite, {}, fingerprint); });
}

BakeSums some_sums() {
  BakeSums sums;
  sums.error = {.error_sq = 0.1, .exact_sq = 1e-300, .max_error = 1.0 / 3};
  sums.loras[0] = {.cross = -1e-17, .norm = 12345.678901234567};
  sums.loras[2] = {.cross = 0, .norm = 5e-324};
  return sums;
}

// Does it with an output that is created, in a process that ends without a destructor: what a
// killed save leaves.
void be_killed(
    const fs::path& path,
    bool overwrite,
    const std::string& fingerprint,
    const std::function<void(OutputFolder&)>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    try {
      OutputFolder output(path, overwrite, {}, fingerprint);
      output.create();
      body(output);
      ::_exit(0);
    } catch (...) {
      ::_exit(1);
    }
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(status == 0);
}

void add_shard(OutputFolder& output, const std::string& file, const std::string& text) {
  write_file(output.prepare(file), text);
  output.add_finished(
      file,
      {.hash = "hash of " + text, .bytes = text.size(), .baked = {{"a.weight", some_sums()}}});
}

void leave_unfinished(const fs::path& path, bool overwrite, const std::string& fingerprint) {
  be_killed(path, overwrite, fingerprint, [](OutputFolder& output) {
    add_shard(output, "vae/0.safetensors", "shard 0");
    add_shard(output, "vae/1.safetensors", "shard 1");
  });
}

void save_whole(const fs::path& path, bool overwrite, const std::string& fingerprint) {
  OutputFolder output(path, overwrite, {}, fingerprint);
  output.create();
  output.publish({{"vae/index.json", "i"}});
  output.finish();
}

// Names in the folder that hold ".mflux-new-" or ".mflux-old-".
std::vector<std::string> beside(const TempDir& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    const std::string name = entry.path().filename().string();
    if (contains(name, ".mflux-new-") || contains(name, ".mflux-old-")) names.push_back(name);
  }
  return names;
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

TEST_CASE("the same save goes on after a kill, with the sums of its finished shards") {
  const TempDir folder;
  leave_unfinished(folder / "out", false, "same");
  const OutputFolder output(folder / "out", false, {}, "same");
  REQUIRE(output.finished().size() == 2);
  const FinishedShard& shard = output.finished().at("vae/0.safetensors");
  CHECK(shard.hash == "hash of shard 0");
  const BakeSums& sums = shard.baked.at("a.weight");
  const BakeSums expected = some_sums();
  CHECK(sums.error.error_sq == expected.error.error_sq);
  CHECK(sums.error.exact_sq == expected.error.exact_sq);
  CHECK(sums.error.max_error == expected.error.max_error);
  REQUIRE(sums.loras.size() == 2);
  CHECK(sums.loras.at(0).cross == expected.loras.at(0).cross);
  CHECK(sums.loras.at(0).norm == expected.loras.at(0).norm);
  CHECK(sums.loras.at(2).norm == expected.loras.at(2).norm);
  CHECK(output.finished().at("vae/1.safetensors").hash == "hash of shard 1");
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
    const OutputFolder output(folder / "out", true, {}, "other");
    CHECK(output.finished().empty());
  }
  save_whole(folder / "out", true, "other");
  CHECK(contents_of(folder.path()).size() == 3);  // out, out/vae, its index: nothing beside
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

TEST_CASE("a save killed before it has a journal goes on as if nothing were there") {
  const TempDir folder;
  fs::create_directories(folder / "out");
  write_file(temporary_beside(folder / "out/x"), "half a journal");
  save_whole(folder / "out", false, "f");
  CHECK(contents_of(folder / "out") == FolderContents{{"vae/", ""}, {"vae/index.json", "i"}});
}

TEST_CASE("a shard finished but not yet named is not written again, a half one goes") {
  const TempDir folder;
  const std::string hidden = ".mflux-0123456789abcdef";
  be_killed(folder / "out", false, "f", [&](OutputFolder& output) {
    write_file(output.prepare("vae/" + hidden), "shard 0");
    output.add_finished("vae/0.safetensors", {.hash = "h", .bytes = 7, .temporary = hidden});
    write_file(temporary_beside(folder / "out/vae/1.safetensors"), "sha");
  });
  OutputFolder output(folder / "out", false, {}, "f");
  CHECK(output.finished().count("vae/0.safetensors") == 1);
  output.create();
  const FolderContents now = contents_of(folder / "out/vae");
  CHECK(now == FolderContents{{"0.safetensors", "shard 0"}});
}

TEST_CASE("a finished shard of another size, a link, or another name is made again") {
  const TempDir folder;
  for (const int kind : {0, 1, 2}) {
    CAPTURE(kind);
    fs::remove_all(folder / "out");
    leave_unfinished(folder / "out", false, "f");
    const fs::path shard = folder / "out/vae/0.safetensors";
    if (kind == 0) write_file(shard, "shard 0, longer");
    if (kind == 1) fs::remove(shard);
    if (kind == 1) fs::create_symlink("1.safetensors", shard);
    if (kind == 2) fs::rename(shard, folder / "out/vae/2.safetensors");
    const OutputFolder output(folder / "out", false, {}, "f");
    CHECK(output.finished().size() == 1);
  }
}

TEST_CASE("while one save writes, a second one is kept out and touches nothing") {
  const TempDir folder;
  fs::create_directories(folder / "old/transformer");
  for (const char* name : {"fresh", "old"}) {
    CAPTURE(name);
    OutputFolder first(folder / name, true, {}, "f");
    first.create();
    add_shard(first, "vae/0.safetensors", "x");
    const FolderContents before = contents_of(folder.path());
    for (const char* fingerprint : {"f", "g"}) {
      CHECK(contains(refusal_of(folder / name, true, fingerprint), "another save is writing it"));
      CHECK(contains(refusal_of(folder / name, false, fingerprint), "another save is writing it"));
    }
    CHECK(differences(before, contents_of(folder.path())).empty());
    first.publish({{"vae/index.json", "i"}});
    CHECK(contains(refusal_of(folder / name, true, "f"), "another save is writing it"));
    first.finish();
  }
  CHECK(beside(folder).empty());
}

TEST_CASE("of two saves that were planned at one time, one creates the folder") {
  const TempDir folder;
  {
    OutputFolder first(folder / "a/out", false, {}, "f");
    OutputFolder second(folder / "a/out", false, {}, "f");
    first.create();
    CHECK(contains(error_of([&] { second.create(); }), "another save is writing it"));
    first.publish({{"vae/index.json", "i"}});
    first.finish();
  }
  CHECK(read_file(folder / "a/out/vae/index.json") == "i");
  OutputFolder late(folder / "a/late", false, {}, "f");
  save_whole(folder / "a/late", false, "g");
  CHECK(contains(error_of([&] { late.create(); }), "another save has just written it"));
  CHECK(read_file(folder / "a/late/vae/index.json") == "i");
}

TEST_CASE("an old folder that a killed swap left aside gets its name back") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  write_file(folder / "out/transformer/0.safetensors", "old");
  const FolderContents old = contents_of(folder / "out");
  leave_unfinished(folder / "out", true, "f");
  fs::rename(folder / "out", folder / ".out.mflux-old-0123456789abcdef");
  CHECK(contains(refusal(folder / "out"), "is not empty"));
  CHECK(contents_of(folder / "out") == old);
  fs::rename(folder / "out", folder / ".out.mflux-old-0123456789abcdef");
  {
    const OutputFolder output(folder / "out", true, {}, "f");
    CHECK(output.finished().size() == 2);
  }
  save_whole(folder / "out", true, "f");
  CHECK(beside(folder).empty());
  CHECK(read_file(folder / "out/vae/1.safetensors") == "shard 1");
}

TEST_CASE("a save killed after the swap is finished by the next, which removes the old folder") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  be_killed(folder / "out", true, "f", [](OutputFolder& output) {
    add_shard(output, "vae/0.safetensors", "x");
  });
  REQUIRE(beside(folder).size() == 1);
  const fs::path hidden = folder / beside(folder).front();
  fs::rename(folder / "out", folder / "mine");
  fs::rename(hidden, folder / "out");
  fs::rename(folder / "mine", hidden);
  save_whole(folder / "out", false, "f");
  CHECK(beside(folder).empty());
  CHECK(read_file(folder / "out/vae/0.safetensors") == "x");
}

TEST_CASE("what other names hold beside the output is nobody's leftover") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  const std::vector<std::string> names = {
      ".out.mflux-new", ".out.mflux-new-0123", ".out2.mflux-new-0123456789abcdef", "new"};
  for (const std::string& name : names) {
    fs::create_directories(folder / name);
    write_file(folder / name / "x", "mine");
  }
  fs::create_directory_symlink("new", folder / ".out.mflux-new-0123456789abcdef");
  save_whole(folder / "out", true, "f");
  for (const std::string& name : names) CHECK(read_file(folder / name / "x") == "mine");
  CHECK(fs::is_symlink(folder / ".out.mflux-new-0123456789abcdef"));
}

TEST_CASE("an output whose name is as long as a name may be is replaced too") {
  const TempDir folder;
  const std::string name(255, 'x');
  fs::create_directories(folder / name / "transformer");
  leave_unfinished(folder / name, true, "f");
  save_whole(folder / name, true, "f");
  CHECK(contents_of(folder.path()).size() == 5);  // it, its vae, two shards and the index
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

TEST_CASE("an output that was replaced meanwhile is left alone") {
  const TempDir folder;
  fs::create_directories(folder / "out/transformer");
  {
    OutputFolder output(folder / "out", true, {}, "f");
    output.create();
    fs::rename(folder / "out", folder / "moved");
    fs::create_directories(folder / "out");
    write_file(folder / "out/model_index.json", "another");
    CHECK(contains(error_of([&] { output.publish({}); }), "was replaced or removed"));
  }
  CHECK(read_file(folder / "out/model_index.json") == "another");
  CHECK(beside(folder).empty());
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
