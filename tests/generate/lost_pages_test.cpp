// SPDX-License-Identifier: MIT
// A model's file that becomes shorter while its weights are mapped.
#include <cctype>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/process.h"
#include "tests/skip.h"
#include "tests/testing.h"

namespace mflux::testing {
namespace {

namespace fs = std::filesystem;

// Does any process have the file mapped.
bool is_mapped(const fs::path& file) {
  std::error_code gone;
  for (fs::directory_iterator it("/proc", gone), end; !gone && it != end; it.increment(gone)) {
    const std::string name = it->path().filename().string();
    if (std::isdigit(static_cast<unsigned char>(name.front())) == 0) continue;
    std::ifstream maps(it->path() / "maps");  // of a process that may end meanwhile
    for (std::string line; std::getline(maps, line);) {
      if (contains(line, file.string())) return true;
    }
  }
  return false;
}

TEST_CASE("weights that are cut while a picture is made end it with a message and status 1") {
  if (!fs::exists("/proc/self/maps")) return skip("the system does not tell what is mapped");
  const TempDir folder;
  const fs::path demo =
      fs::path(MFLUX_TEST_DATA).parent_path().parent_path() / "examples/demo/flux";
  fs::copy(demo, folder / "model", fs::copy_options::recursive);
  const fs::path weights = folder / "model/transformer/diffusion_pytorch_model.safetensors";
  REQUIRE(fs::exists(weights));
  Process generate(ProgramCall{
      .arguments = {
          "generate",
          "--model",
          (folder / "model").string(),
          "--prompt",
          "a cat",
          "--steps",
          "900",
          "--width",
          "64",
          "--height",
          "64",
          "--output",
          (folder / "cat.png").string()}});
  if (!wait_until(generate, [&] { return is_mapped(weights); })) FAIL(generate.wait().err);
  fs::resize_file(weights, 0);
  const ProgramRun run = generate.wait();
  CAPTURE(run.err);
  CHECK(run.status == 1);
  CHECK(contains(run.err, "mflux: error: "));
  CHECK(contains(run.err, "became shorter"));
  CHECK_FALSE(fs::exists(folder / "cat.png"));
}

}  // namespace
}  // namespace mflux::testing
