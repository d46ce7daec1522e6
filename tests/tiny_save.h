// SPDX-License-Identifier: MIT
// A tiny FLUX.1 and a LoRA for it, in a folder that goes away: what most tests of a save begin
// with.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mflux/save.h"
#include "tests/testing.h"
#include "tests/tiny_model.h"

namespace mflux::testing {

struct TinySave {
  explicit TinySave(TinyFamily family = TinyFamily::flux, const TinySize& size = kSize) {
    write_tiny_model(folder / "model", family, size);
    write_tiny_lora(folder / "lora.safetensors", family, TinyLora::peft, size);
  }

  static constexpr TinySize kSize{.hidden = 64, .blocks = 1, .shards = 2};

  std::string path(std::string_view name) const { return (folder / name).string(); }

  // 8 bits and the LoRA, to folder `output`.
  SaveOptions options(std::string_view output = "out") const {
    return {
        .model = path("model"),
        .output = folder / output,
        .bits = 8,
        .loras = {{.name = path("lora.safetensors")}}};
  }

  std::vector<std::string> arguments(std::string_view output = "out") const {
    return {
        "save",
        "--model",
        path("model"),
        "--path",
        path(output),
        "-q",
        "8",
        "--lora",
        path("lora.safetensors")};
  }

  TempDir folder;
};

inline std::vector<std::string> operator+(
    std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace mflux::testing
