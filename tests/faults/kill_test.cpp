// SPDX-License-Identifier: MIT
// A save killed before each call that changes the disk, and the same command again.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/faults/place.h"

namespace mflux::testing {
namespace {

ProgramRun killed_at(const Place& place, size_t call) {
  return run_program(spoiled(
      place.call(),
      {.what = "kill-before", .calls = kChanging, .below = place.path(), .at = call}));
}

void kill_everywhere(const Place& place, const std::string& title, bool may_be_missing = false) {
  place.reset();
  const auto calls = calls_of(place.call(), place.path(), kChanging);
  size_t kept = 0;
  Tries tries(fmt::format("{}, killed before one of {} calls", title, calls.size()));
  for (const size_t at : points(calls)) {
    tries.begin(fmt::format("killed before call {}, {}", at, calls[at - 1]));
    place.reset();
    const ProgramRun run = killed_at(place, at);
    tries.check(run.status == kKilled, end_of(run));
    const bool missing = may_be_missing && !std::filesystem::exists(place.path() / "out");
    tries.check(
        missing || place.old_new_or_unfinished(), "OUT is neither old nor new nor to be finished");
    kept += place.finished_shards().size();
    place.check_resumes(tries);
  }
  CHECK(kept > 0);  // otherwise nobody looked whether they are kept
  tries.conclude();
}

TEST_SUITE("faults") {
  TEST_CASE("a save killed at any call is finished by the same command") {
    if (can_inject()) kill_everywhere(SavePlace(false).place, "save");
  }

  TEST_CASE(
      "a save that replaces a model and is killed at any call leaves the old or the new one") {
    if (can_inject()) kill_everywhere(SavePlace(true).place, "save --overwrite");
  }

  // Between the two renames that stand for it OUT is missing; the next run puts it back.
  TEST_CASE("a save that cannot let folders change places is finished by the same command") {
    if (!can_inject()) return;
    const SavePlace save(true, "renameat2");
    kill_everywhere(save.place, "save --overwrite, no renameat2", true);
  }

  TEST_CASE("a job killed at any call is finished by the same command") {
    if (!can_inject()) return;
    for (const char* lacks : {"", "ioctl,link"}) {
      const TinySave tiny;
      const std::string text = fmt::format(
          "model = \"{0}/model\"\n[[output]]\npath = \"{0}/place/full\"\nquantize = 8\n"
          "lora = \"{0}/lora.safetensors\"\n[[output]]\npath = \"{0}/place/plain\"\n"
          "quantize = 8\n",
          tiny.folder.path().string());
      write_file(tiny.folder / "job.toml", text);
      const ProgramCall job = {.arguments = {"save", "--job", tiny.path("job.toml")}};
      kill_everywhere(
          Place(lacking(job, lacks), tiny.folder / "place"),
          fmt::format("save --job, lacks '{}'", lacks));
    }
  }

  TEST_CASE("a save killed again and again comes to its end, and makes no shard twice") {
    if (!can_inject()) return;
    for (const bool overwrite : {false, true}) {
      const SavePlace save(overwrite);
      const Place& place = save.place;
      Tries tries(overwrite ? "save --overwrite, killed again" : "save, killed again");
      place.reset();
      ProgramRun run = {.status = kKilled};
      // Every run comes a little further than the one before, wherever that one was.
      for (size_t at = 5; run.status == kKilled; at += 5) {
        tries.begin(fmt::format("killed before call {}", at));
        const Inodes finished = place.finished_shards();
        run = killed_at(place, at);
        tries.check(run.status == 0 || run.status == kKilled, end_of(run));
        tries.check(place.old_new_or_unfinished(), "OUT is neither old nor new nor to be finished");
        for (const auto& [file, identity] : place.finished_shards()) {
          const auto known = finished.find(file);
          tries.check(
              known == finished.end() || known->second == identity, "written twice: " + file);
        }
      }
      tries.check(place.is_done(), "the last run left something else than an undisturbed one");
      tries.conclude();
    }
  }
}

}  // namespace
}  // namespace mflux::testing
