// SPDX-License-Identifier: MIT
// How to provoke the messages that docs/ quotes.
#pragma once

#include <span>
#include <string_view>

#include "tests/program.h"

namespace mflux::testing {

struct Scene;  // a folder with models and LoRAs

struct Provoked {
  std::string_view part;  // of the message in docs/, and of no other
  int status;
  ProgramRun (*provoke)(const Scene&);
  bool picture = false;  // needs `mflux generate`
};

std::span<const Provoked> provoked_messages();

ProgramRun provoke(const Provoked& message);  // in a folder of its own

}  // namespace mflux::testing
