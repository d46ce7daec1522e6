// SPDX-License-Identifier: MIT
// The JSON files of a tiny model: what diffusers and transformers need to open it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mflux::testing {

enum class TinyFamily : uint8_t;

struct TinyConfigSize {
  uint64_t heads = 2;  // of 64, in the transformer
  uint64_t blocks = 2;
  uint64_t text = 128;  // width of the text encoders' output
};

struct ConfigFile {
  std::string name;  // within the model's folder
  std::string text;
};

std::vector<ConfigFile> tiny_configs(TinyFamily family, const TinyConfigSize& size);

}  // namespace mflux::testing
