// SPDX-License-Identifier: MIT
// A save that is interrupted or killed, and the same command again.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <set>

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/process.h"
#include "tests/skip.h"
#include "tests/tiny_save.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

constexpr TinySize kSize{.hidden = 512, .blocks = 4, .shards = 2};

// A save into many small shards, so that there is much to interrupt.
std::vector<std::string> many_shards(const TinySave& tiny, std::string_view output) {
  return tiny.arguments(output) + std::vector<std::string>{"--max-shard-size", "1MB"};
}

// Paths of the finished shards; the ones being written are hidden.
std::set<std::string> shards_in(const fs::path& folder) {
  std::set<std::string> shards;
  std::error_code gone;  // files come and go while we look
  for (fs::recursive_directory_iterator it(folder, gone), end; !gone && it != end;
       it.increment(gone)) {
    const fs::path& path = it->path();
    const bool hidden = path.filename().string().front() == '.';
    if (path.extension() == ".safetensors" && !hidden) shards.insert(path.string());
  }
  return shards;
}

bool has_index(const fs::path& folder) {
  const FolderContents contents = contents_of(folder);
  return std::any_of(contents.begin(), contents.end(), [](const auto& file) {
    return file.first.ends_with("index.json");
  });
}

// Signals a save to `out` when it has finished that many shards. On a busy machine it may be done
// before we see it, so it gets a few chances.
ProgramRun run_and_signal(const TinySave& tiny, size_t shards, int number) {
  ProgramRun run;
  for (int attempt = 0; attempt < 10; ++attempt) {
    fs::remove_all(tiny.path("out"));
    Process save(ProgramCall{.arguments = many_shards(tiny, "out")});
    wait_until(save, [&] { return shards_in(tiny.path("out")).size() >= shards; });
    save.signal(number);
    run = save.wait();
    if (run.status != 0) break;
  }
  return run;
}

TEST_CASE("an interrupted save ends with 130 and leaves nothing") {
  const TinySave tiny(TinyFamily::flux, kSize);
  for (const int number : {SIGINT, SIGTERM}) {
    const ProgramRun run = run_and_signal(tiny, 1, number);
    CAPTURE(run.err);
    CHECK(run.status == 130);
    CHECK_FALSE(fs::exists(tiny.path("out")));
  }
}

TEST_CASE("a killed save is incomplete, and the same command finishes it with the same bytes") {
  const TinySave tiny(TinyFamily::flux, kSize);
  REQUIRE(run_program(ProgramCall{.arguments = many_shards(tiny, "whole")}).status == 0);
  const FolderContents whole = contents_of(tiny.path("whole"));
  const size_t shards = shards_in(tiny.path("whole")).size();
  REQUIRE(shards > 8);
  for (const size_t moment : {size_t{0}, size_t{1}, shards / 4, shards / 2}) {
    CAPTURE(moment);
    REQUIRE(run_and_signal(tiny, moment, SIGKILL).status == kKilled);
    REQUIRE_FALSE(has_index(tiny.path("out")));
    std::map<std::string, fs::file_time_type> finished;
    for (const std::string& shard : shards_in(tiny.path("out"))) {
      finished[shard] = fs::last_write_time(shard);
    }
    REQUIRE(run_program(ProgramCall{.arguments = many_shards(tiny, "out")}).status == 0);
    CHECK(differences(whole, contents_of(tiny.path("out"))).empty());
    const auto kept = std::count_if(finished.begin(), finished.end(), [](const auto& shard) {
      return fs::last_write_time(shard.first) == shard.second;
    });
    CHECK(static_cast<size_t>(kept) == finished.size());
  }
}

TEST_CASE("one processor gives the same bytes as all") {
  const TinySave tiny(TinyFamily::flux, kSize);
  REQUIRE(run_program(ProgramCall{.arguments = many_shards(tiny, "all")}).status == 0);
  const ProgramRun one = run_program(ProgramCall{
      .arguments = many_shards(tiny, "one"), .program = {"taskset", "-c", "0", MFLUX_PROGRAM}});
  if (one.status == 127) return skip("taskset is not installed");
  REQUIRE(one.status == 0);
  CHECK(differences(contents_of(tiny.path("all")), contents_of(tiny.path("one"))).empty());
}

}  // namespace
}  // namespace mflux::testing
