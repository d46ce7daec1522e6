// SPDX-License-Identifier: MIT
// Small models that lie in a target's folder before its first run.
#pragma once

#include <algorithm>
#include <filesystem>

#include "fuzz/input.h"
#include "tests/tiny_model.h"

namespace mflux::fuzz {

inline constexpr mflux::testing::TinySize kSize{.hidden = 64, .blocks = 1, .shards = 1};

// Of both families: "flux" and "qwen".
inline Folder& with_models() {
  static Folder folder;
  [[maybe_unused]] static const bool kWritten = [] {
    using mflux::testing::TinyFamily;
    mflux::testing::write_tiny_model(folder.path() / "flux", TinyFamily::flux, kSize);
    mflux::testing::write_tiny_model(folder.path() / "qwen", TinyFamily::qwen, kSize);
    return true;
  }();
  return folder;
}

// Calls `read` with the folder of each family's model that the input has a file for, laid into it.
template <typename Read>
void with_models_given(const uint8_t* data, size_t size, Read read) {
  static Folder& folder = with_models();
  const auto entries = split(text_of(data, size), "flux/transformer/config.json");
  const Laid laid(folder, entries);
  for (const char* family : {"flux", "qwen"}) {
    const auto in_it = [&](const Entry& e) { return e.name.starts_with(family); };
    if (std::ranges::any_of(entries, in_it)) read(folder.path() / family);
  }
}

}  // namespace mflux::fuzz
