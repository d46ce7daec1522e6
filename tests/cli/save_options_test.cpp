// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include "tests/program.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux {
namespace {

using testing::contains;
using Arguments = std::vector<std::string>;

TEST_CASE("an option of a save that has no effect is said once") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "m", testing::TinyFamily::flux);
  const std::string lora = (folder / "lora.safetensors").string();
  testing::write_tiny_lora(lora, testing::TinyFamily::flux, testing::TinyLora::peft);
  const auto err = [&](Arguments arguments) {
    const Arguments begin = {"save", "--dry-run", "--model", (folder / "m").string()};
    arguments.insert(arguments.begin(), begin.begin(), begin.end());
    const testing::ProgramRun run = testing::run_program(arguments);
    CHECK(run.status == 0);
    return run.err;
  };
  const std::vector<std::pair<std::string, std::string>> options = {
      {"--min-kept", "0.5"}, {"--rounding", "delta"}, {"--on-lora-failure", "skip-lora"}};
  for (const auto& [option, value] : options) {
    const std::string note = "Note: " + option + " has no effect without --lora\n";
    CHECK(err({option, value}) == note);
    CHECK_FALSE(contains(err({option, value, "--lora", lora}), "has no effect"));
  }
  CHECK_FALSE(contains(err({"--rounding", "auto"}), "has no effect"));
  CHECK(err({"--q-mode", "affine"}) == "Note: --q-mode affine has no effect without --quantize\n");
  CHECK_FALSE(contains(err({"--q-mode", "mxfp4"}), "has no effect"));
  const Arguments shards = {"--max-shard-size", "1MiB", "--layout", "comfyui"};
  CHECK(contains(err(shards), "Note: --max-shard-size has no effect with --layout comfyui"));
  CHECK_FALSE(contains(err({"--max-shard-size", "1MiB"}), "has no effect"));
}

TEST_CASE("a job says it where no output has a LoRA") {
  const testing::TempDir folder;
  testing::write_tiny_model(folder / "m", testing::TinyFamily::flux);
  const std::string lora = (folder / "lora.safetensors").string();
  testing::write_tiny_lora(lora, testing::TinyFamily::flux, testing::TinyLora::peft);
  const auto err = [&](const std::string& more) {
    testing::write_file(
        folder / "job.toml",
        "model = \"" + (folder / "m").string() + "\"\n[defaults]\nmin-kept = 0.1\n" +
            "[[output]]\npath = \"" + (folder / "a").string() + "\"\n" + more);
    const testing::ProgramRun run =
        testing::run_program({"save", "--dry-run", "--job", (folder / "job.toml").string()});
    CHECK(run.status == 0);
    return run.err;
  };
  CHECK(contains(err(""), "Note: --min-kept has no effect without --lora\n"));
  CHECK_FALSE(contains(err("lora = [\"" + lora + "\"]\n"), "has no effect"));
}

}  // namespace
}  // namespace mflux
