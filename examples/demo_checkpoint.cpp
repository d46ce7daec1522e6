// SPDX-License-Identifier: MIT
// Writes what `make demo` bakes: a small FLUX.1 and a small Qwen-Image folder with random weights,
// and for each of them a LoRA from diffusers/PEFT, one from kohya's scripts, and one that does not
// fit.
//
//   demo_checkpoint FOLDER [WIDTH]
//
// WIDTH: of the transformers, a multiple of 64; 3072 is that of the real ones (2 GB each).
#include <exception>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "tests/tiny_model.h"

namespace {

using mflux::testing::TinyFamily;
using mflux::testing::TinyLora;

constexpr uint64_t kRank = 16;

void write(
    const std::filesystem::path& folder,
    TinyFamily family,
    const std::string& name,
    uint64_t width) {
  const mflux::testing::TinySize size = {.hidden = width, .blocks = 2, .shards = 3};
  mflux::testing::write_tiny_model(folder / name, family, size);
  const auto lora = [&](TinyLora kind, const std::string& suffix) {
    const std::filesystem::path file = folder / (name + "-lora-" + suffix + ".safetensors");
    mflux::testing::write_tiny_lora(file, family, kind, size, kRank);
  };
  lora(TinyLora::peft, "diffusers");
  lora(TinyLora::kohya, "kohya");
  lora(TinyLora::misfit, "misfit");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: demo_checkpoint FOLDER [WIDTH]\n");
    return 2;
  }
  const uint64_t width = argc == 3 ? std::stoull(argv[2]) : 768;
  write(argv[1], TinyFamily::flux, "flux", width);
  write(argv[1], TinyFamily::qwen, "qwen", width);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "demo_checkpoint: error: {}\n", error.what());
  return 1;
}
