// SPDX-License-Identifier: MIT
#include "tests/probe/probe.h"

namespace mflux::probe {

const std::map<std::string, Part>& qwen_parts() {
  static const std::map<std::string, Part> parts = {};
  return parts;
}

}  // namespace mflux::probe
