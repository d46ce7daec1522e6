// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace mflux::models {

// A name that Python's mflux gives a published model ("dev", "schnell", "qwen-image", ...), the hub
// repository its ModelConfig takes it for, and the variant of the family.
struct KnownModel {
  std::string_view name;
  std::string_view repository;
  std::string_view family;
};

}  // namespace mflux::models
