// SPDX-License-Identifier: MIT
// Pictures of the demo's models, made by the library: what is told, in which order, and what
// changes the pixels.
#include "mflux/generate.h"

#include <filesystem>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "mflux/image/png.h"
#include "tests/testing.h"

namespace mflux {
namespace {

namespace fs = std::filesystem;

GenerateOptions star(const std::string& model) {
  const fs::path demo = fs::path(MFLUX_TEST_DATA).parent_path().parent_path() / "examples/demo";
  return {
      .model = (demo / model).string(),
      .prompt = "a large red star",
      .seeds = {3},
      .height = 64,
      .width = 64,
      .steps = 2};
}

Picture only_picture(const GenerateOptions& options) {
  const Generated made = generate(options);
  REQUIRE(made.pictures.size() == 1);
  return made.pictures.front().picture;
}

TEST_CASE("pictures come in the order of the seeds, each after its steps") {
  GenerateOptions options = star("flux");
  options.seeds = {7, 3};
  std::vector<std::string> told;
  Picture preview;
  GenerateEvents events;
  events.plan = [&](const GeneratePlan& plan) {
    told.push_back(fmt::format("{} {}", plan.title, plan.steps));
  };
  events.log = [&](std::string_view line) {
    if (line.starts_with("Loading")) told.emplace_back(line);
  };
  events.progress = [&](const GenerateProgress& now) {
    told.push_back(fmt::format("{}: {}/{}", now.picture, now.step, now.steps));
  };
  events.preview = [&](const GenerateProgress&, const Picture& picture) { preview = picture; };
  events.picture = [&](const GeneratedPicture& made) {
    CHECK(preview.rgb == made.picture.rgb);  // that of the last step
    told.push_back(fmt::format("seed {}", made.seed));
  };
  const Generated made = generate(options, events);
  std::erase_if(told, [](const std::string& line) { return line == "Loading vae..."; });
  CHECK(
      told == std::vector<std::string>{
                  "FLUX.1 2",
                  "Loading text_encoder...",
                  "Loading text_encoder_2...",
                  "Loading transformer...",
                  "0: 1/2",
                  "0: 2/2",
                  "seed 7",
                  "1: 1/2",
                  "1: 2/2",
                  "seed 3"});
  REQUIRE(made.pictures.size() == 2);
  CHECK(made.pictures[0].seed == 7);
  CHECK(made.pictures[0].picture.rgb != made.pictures[1].picture.rgb);
  CHECK(made.pictures[1].picture.rgb == only_picture(star("flux")).rgb);
}

TEST_CASE("with little memory the pixels are the same, and all steps come before all pictures") {
  for (const std::string model : {"flux", "qwen"}) {
    CAPTURE(model);
    GenerateOptions options = star(model);
    const Picture usual = only_picture(options);
    CHECK(usual.height == 64);
    CHECK(usual.width == 64);
    options.low_memory = true;
    options.seeds = {3, 4};
    std::string told;
    GenerateEvents events;
    events.progress = [&](const GenerateProgress&) { told += 's'; };
    events.picture = [&](const GeneratedPicture&) { told += 'p'; };
    const Generated made = generate(options, events);
    CHECK(told == "sssspp");
    CHECK(made.pictures.at(0).picture.rgb == usual.rgb);
  }
}

TEST_CASE("a picture to begin with leaves out the first steps") {
  const testing::TempDir folder;
  GenerateOptions options = star("flux");
  const Picture usual = only_picture(options);
  write_png(folder / "first.png", usual, {});
  options.image = folder / "first.png";
  options.image_strength = 0.8F;
  options.steps = 5;
  std::vector<int> steps;
  GenerateEvents events;
  events.progress = [&](const GenerateProgress& now) { steps.push_back(now.step); };
  const Generated made = generate(options, events);
  CHECK(made.plan.begins_with_image);
  CHECK(steps == std::vector<int>{5});
  CHECK(made.pictures.at(0).picture.rgb != usual.rgb);
}

TEST_CASE("a generation that is stopped ends before the next step") {
  std::atomic<bool> stop = false;
  int steps = 0;
  GenerateEvents events;
  events.stop = &stop;
  events.progress = [&](const GenerateProgress&) { stop = ++steps == 2; };
  events.picture = [](const GeneratedPicture&) { FAIL("a picture was made"); };
  GenerateOptions options = star("qwen");
  options.steps = 5;
  try {
    generate(options, events);
    FAIL("was not stopped");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::interrupted);
  }
  CHECK(steps == 2);
}

}  // namespace
}  // namespace mflux
