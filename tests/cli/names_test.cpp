// SPDX-License-Identifier: MIT
// The names the program may be called under.
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include "tests/checkpoints.h"
#include "tests/program.h"

namespace mflux::cli {
namespace {

using testing::contains;
using testing::ProgramRun;
using testing::run_program;
using testing::TempDir;
using testing::write_file;
using testing::write_zeros;

TEST_CASE("mflux-save-qwen takes every variant of Qwen-Image and nothing else") {
  const TempDir folder;
  const std::string program = (folder / "mflux-save-qwen").string();
  std::filesystem::create_symlink(MFLUX_PROGRAM, program);
  write_zeros(folder / "flux/transformer/model.safetensors", testing::tiny_flux());
  write_zeros(folder / "qwen/transformer/model.safetensors", testing::tiny_qwen());
  write_zeros(folder / "edit/transformer/model.safetensors", testing::tiny_qwen());
  write_file(folder / "edit/model_index.json", R"({"_class_name": "QwenImageEditPipeline"})");
  const auto save = [&](const std::string& model) {
    return run_program(
        {"--model", (folder / model).string(), "--path", (folder / (model + "-out")).string()},
        program);
  };
  for (const std::string model : {"qwen", "edit"}) {
    CAPTURE(model);
    const ProgramRun run = save(model);
    CHECK_MESSAGE(run.status == 0, run.err);
  }
  const ProgramRun run = save("flux");
  CHECK(run.status == 2);
  CHECK(contains(run.err, "this is FLUX.1, and the command is for Qwen-Image"));
  CHECK_FALSE(std::filesystem::exists(folder / "flux-out"));
}

TEST_CASE("an unknown command is named, with those there are") {
  const ProgramRun run = run_program({"bake", "--model", "m"});
  CHECK(run.status == 2);
  CHECK(contains(run.err, "unknown command 'bake', expected one of save, verify, inspect"));
  CHECK(contains(run_program({}).err, "A subcommand is required"));
}

}  // namespace
}  // namespace mflux::cli
