// SPDX-License-Identifier: MIT
// A save in which one call fails, or all from one on, or moves less than asked.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/faults/place.h"

namespace mflux::testing {
namespace {

struct Kind {
  const char* name;
  std::string what;
  const char* calls;
  bool lasts;
  bool harmless;  // the program must get over it
};

const std::vector<Kind> kKinds = {
    {"EIO", std::to_string(EIO), kAnyCall, false, false},
    {"ENOSPC from then on", std::to_string(ENOSPC), kGrowing, true, false},
    {"EDQUOT", std::to_string(EDQUOT), kGrowing, false, false},
    {"EACCES", std::to_string(EACCES), kNaming, false, false},
    {"EINTR", std::to_string(EINTR), kWaiting, false, true},
    {"short", "short", kMoving, false, true},
};

void check_end(const Place& place, const Kind& kind, const ProgramRun& run, Tries& tries) {
  if (run.status == 0) {
    for (const std::string& name : differences(place.after(), place.now()))
      tries.check(false, "it says that all is well, but differs: " + name);
    return;
  }
  tries.check(!kind.harmless && (run.status == 1 || run.status == 2), end_of(run));
  tries.check(contains(end_of(run), "/"), "names no file: " + end_of(run));
  tries.check(place.as_before() || place.is_replaced(), "OUT is neither as it was nor all new");
}

void spoil_everywhere(
    const Place& place, const std::filesystem::path& below, const Kind& kind, const char* title) {
  place.reset();
  const auto calls = calls_of(place.call(), below, kind.calls);
  Tries tries(fmt::format("{}, {} at one of {} calls", title, kind.name, calls.size()));
  for (const size_t at : points(calls)) {
    tries.begin(fmt::format("{} at call {}, {}", kind.name, at, calls[at - 1]));
    place.reset();
    const ProgramRun run = run_program(spoiled(
        place.call(),
        {.what = kind.what, .calls = kind.calls, .below = below, .at = at, .lasts = kind.lasts}));
    check_end(place, kind, run, tries);
    place.check_resumes(tries);
  }
  tries.conclude();
}

TEST_SUITE("faults") {
  TEST_CASE("a save in which a call fails says so and leaves nothing, or gets over it") {
    if (!can_inject()) return;
    const SavePlace save(false);
    for (const Kind& kind : kKinds)
      spoil_everywhere(save.place, save.tiny.folder.path(), kind, "save");
  }

  TEST_CASE(
      "a save that replaces a model and in which a call fails leaves the old or the new one") {
    if (!can_inject()) return;
    const SavePlace save(true);
    for (const Kind& kind : kKinds)
      spoil_everywhere(save.place, save.place.path(), kind, "save --overwrite");
  }

  TEST_CASE("a save that is not told of a part of the model says so, and leaves nothing out") {
    if (!can_inject()) return;
    const SavePlace save(false);
    for (const int error : {EIO, EACCES}) {
      const Kind kind{"stat", std::to_string(error), "stat,lstat,fstatat", false, false};
      for (const char* part : {"model_index.json", "vae", "tokenizer", "scheduler"})
        spoil_everywhere(save.place, save.tiny.folder / "model" / part, kind, part);
    }
  }
}

}  // namespace
}  // namespace mflux::testing
