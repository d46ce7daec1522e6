// SPDX-License-Identifier: MIT
// Two saves into one folder at the same time.
#include <chrono>
#include <thread>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/faults/place.h"

namespace mflux::testing {
namespace {

bool says_saved(const ProgramRun& run) {
  return run.status == 0 && contains(run.out, "Saved ");
}

// Who does not save says why.
void check_said(const ProgramRun& run, Tries& tries) {
  const bool refused = run.status == 1 || run.status == 2;
  tries.check(says_saved(run) || (refused && contains(run.err, "mflux: error: ")), end_of(run));
  tries.check(run.status == 0 || !contains(run.out, "Saved "), "says Saved, but " + end_of(run));
}

// Starts both, the second one a little later each time. `b` may be the same command.
void race(const Place& a, const Place& b, const std::string& title) {
  const int pairs = try_all() ? 40 : 8;
  Tries tries(title);
  for (int pair = 0; pair < pairs; ++pair) {
    const std::chrono::milliseconds later(pair * 80 / pairs);
    tries.begin(fmt::format("the second {} ms later", later.count()));
    a.reset();
    Process first(a.call());
    std::this_thread::sleep_for(later);
    Process second(b.call());
    const ProgramRun first_run = first.wait();
    const ProgramRun second_run = second.wait();
    check_said(first_run, tries);
    check_said(second_run, tries);
    tries.check(says_saved(first_run) || says_saved(second_run), "neither saved");
    tries.check(
        (says_saved(first_run) && a.is_done()) || (says_saved(second_run) && b.is_done()),
        fmt::format(
            "OUT is not what it was saved as: {}; {}", end_of(first_run), end_of(second_run)));
  }
  tries.conclude();
}

TEST_SUITE("faults") {
  TEST_CASE("of two saves into one folder at once, who says Saved has saved it") {
    const SavePlace save(false);
    race(save.place, save.place, "pairs of the same save");
  }

  TEST_CASE("of two saves that replace one model at once, who says Saved has saved it") {
    const SavePlace save(true);
    race(save.place, save.place, "pairs of the same save --overwrite");
  }

  TEST_CASE("of two different saves into one folder at once, who says Saved has saved it") {
    const SavePlace save(false);
    const Place other = save.with({"--lora-scale", "0.5"});
    race(save.place, other, "pairs of different saves");
    const SavePlace replacing(true);
    const Place replacing_too = replacing.with({"--lora-scale", "0.5"});
    race(replacing.place, replacing_too, "pairs of different saves --overwrite");
    race(replacing_too, replacing.place, "pairs of different saves --overwrite, the other first");
  }
}

}  // namespace
}  // namespace mflux::testing
