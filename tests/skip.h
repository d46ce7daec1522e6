// SPDX-License-Identifier: MIT
// A test that cannot run on this machine: `return skip("zsh is not installed");`. CTest reports it
// as skipped, and scripts/test.sh with its reason.
#pragma once

#include <string>

#include <doctest/doctest.h>

namespace mflux::testing {

inline void skip(const std::string& reason) {
  MESSAGE("skipped: " << reason);
}

}  // namespace mflux::testing
