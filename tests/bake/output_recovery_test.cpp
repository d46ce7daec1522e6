// SPDX-License-Identifier: MIT
// What is left of a save that was killed, what the next one makes of it, and two at one time.
#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/bake/output_folder.h"
#include "mflux/base/file.h"
#include "tests/folders.h"
#include "tests/output_folders.h"
#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;
using testing::add_shard;
using testing::be_killed;
using testing::beside;
using testing::contains;
using testing::contents_of;
using testing::differences;
using testing::error_of;
using testing::FolderContents;
using testing::leave_unfinished;
using testing::read_file;
using testing::refusal_of;
using testing::save_whole;
using testing::some_sums;
using testing::TempDir;
using testing::write_file;

constexpr const char* kJournal = ".mflux-save.json";

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
  CHECK(contains(
      refusal_of(folder / "out", false, "f"),
      "holds an unfinished save with other inputs or options"));
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
  CHECK(contains(refusal_of(folder / "out", false, "f"), "is not empty"));
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
    CHECK(contains(refusal_of(folder / "out", false, "f"), "unfinished save"));
    const OutputFolder output(folder / "out", true, {}, "f");
    CHECK(output.finished().empty());
  }
}

}  // namespace
}  // namespace mflux
