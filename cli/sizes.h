// SPDX-License-Identifier: MIT
// Sizes as people type and read them.
#pragma once

#include <cstdint>
#include <string>

namespace mflux::cli {

// "2GiB", "500MB", "1.5G", "1000000"; throws a usage Error.
uint64_t parse_size(const std::string& text);
std::string format_size(uint64_t bytes);  // "18.00 GB"

}  // namespace mflux::cli
