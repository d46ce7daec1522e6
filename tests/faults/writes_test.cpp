// SPDX-License-Identifier: MIT
// What other commands write: where a call fails, each file is the old one or the new one, whole,
// and nothing else is left.
#include <algorithm>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "tests/cli/help.h"
#include "tests/faults/place.h"
#include "tests/skip.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

bool is_old_or_new(const Place& place) {
  const FolderContents now = place.now();
  const auto is_in = [](const FolderContents& contents, const auto& file) {
    const auto found = contents.find(file.first);
    return found != contents.end() && found->second == file.second;
  };
  return std::ranges::all_of(
             now,
             [&](const auto& file) {
               return is_in(place.before(), file) || is_in(place.after(), file);
             }) &&
         std::ranges::all_of(
             place.before(), [&](const auto& file) { return now.count(file.first) != 0; });
}

void spoil_everywhere(const Place& place, const char* calls, int code, const std::string& title) {
  place.reset();
  const auto all = calls_of(place.call(), place.path(), calls);
  Tries tries(fmt::format("{}, errno {} at one of {} calls", title, code, all.size()));
  for (size_t at = 1; at <= all.size(); ++at) {
    tries.begin(fmt::format("call {}, {}", at, all[at - 1]));
    place.reset();
    const Fault fault = {
        .what = std::to_string(code), .calls = calls, .below = place.path(), .at = at};
    const ProgramRun run = run_program(spoiled(place.call(), fault));
    tries.check(run.status == 0 ? place.is_done() : run.status == 1, end_of(run));
    tries.check(run.status == 0 || contains(end_of(run), place.path().string()), end_of(run));
    tries.check(is_old_or_new(place), "something else is left: " + end_of(run));
  }
  tries.conclude();
}

void spoil_everywhere(const Place& place, const std::string& title) {
  spoil_everywhere(place, kGrowing, ENOSPC, title);
  spoil_everywhere(place, kAnyCall, EIO, title);
}

// With pages of that name there already, or none.
void spoil_writes(
    const TinySave& tiny, const std::vector<std::string>& arguments, const std::string& file) {
  const fs::path old = tiny.folder / "old";
  fs::create_directory(old);
  write_file(old / file, "what was there");
  for (const fs::path& initial : {fs::path(), old}) {
    const Place place({.arguments = arguments}, tiny.folder / "place", initial);
    spoil_everywhere(
        place, arguments[0] + (initial.empty() ? ", a new file" : ", over an old file"));
  }
}

TEST_SUITE("faults") {
  TEST_CASE("a report whose writing fails leaves the old page or none") {
    if (!can_inject()) return;
    const TinySave tiny;
    REQUIRE(run_program(ProgramCall{.arguments = tiny.arguments()}).status == 0);
    spoil_writes(
        tiny, {"report", tiny.path("out"), "-o", tiny.path("place/page.html")}, "page.html");
  }

  TEST_CASE("a LoRA whose conversion fails is the old one or none") {
    if (!can_inject()) return;
    const TinySave tiny;
    const std::string lora = tiny.path("lora.safetensors");
    const std::string converted = tiny.path("place/kohya.safetensors");
    spoil_everywhere(
        Place(
            {.arguments = {"inspect", lora, "--convert", "kohya", converted}},
            tiny.folder / "place"),
        "inspect --convert");
  }

  TEST_CASE("manual pages whose writing fails are old or new") {
    if (!can_inject()) return;
    const TinySave tiny;
    spoil_writes(tiny, {"manual", tiny.path("place")}, "mflux.1");
  }

  TEST_CASE("a picture whose writing fails is not there") {
    if (!can_inject()) return;
    if (std::ranges::count(subcommands(), "generate") == 0) return skip("built without generate");
    const TinySave tiny;
    const std::vector<std::string> arguments = {
        "generate",
        "--model",
        fs::path(MFLUX_TEST_DATA "/../../examples/demo/flux").string(),
        "--prompt",
        "fox",
        "--steps",
        "1",
        "--seed",
        "1",
        "--height",
        "64",
        "--width",
        "64",
        "--metadata",
        "--output",
        tiny.path("place/fox.png")};
    spoil_everywhere(
        Place({.arguments = arguments}, tiny.folder / "place"), kGrowing, ENOSPC, "generate");
  }
}

}  // namespace
}  // namespace mflux::testing
