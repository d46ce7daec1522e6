// SPDX-License-Identifier: MIT
#include "mflux/version.h"

namespace mflux {

std::string_view version() {
  return MFLUX_VERSION;
}

}  // namespace mflux
