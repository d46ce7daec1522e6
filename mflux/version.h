// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace mflux {

std::string_view version();  // of this library, "0.2.0"

// The version of Python mflux whose folder layout we write; its loader wants the key in the
// metadata.
inline constexpr std::string_view kMfluxVersion = "0.24.0";

}  // namespace mflux
