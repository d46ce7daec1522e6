// SPDX-License-Identifier: MIT
// Small models that lie in a target's folder before its first run.
#pragma once

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

}  // namespace mflux::fuzz
