// SPDX-License-Identifier: MIT
// A saved folder proved from its base and its LoRAs.
#pragma once

#include <doctest/doctest.h>

#include "mflux/options.h"
#include "mflux/verify.h"

namespace mflux::testing {

// Every check is one of the test's.
inline bool verifies(const SaveOptions& options) {
  const VerifyReport report =
      verify({.folder = options.output, .base = options.model, .loras = options.loras});
  for (const Check& check : report.checks)
    CHECK_MESSAGE(check.passed, (check.name + ": " + check.detail));
  return report.passed();
}

}  // namespace mflux::testing
