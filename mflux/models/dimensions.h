// SPDX-License-Identifier: MIT
// The shapes of the tables, "6h h" or "h h+m", taken apart.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mflux::models {

// A dimension is a sum of multiples of widths; * is any width.
struct Term {
  uint64_t factor = 1;
  char width = '*';
};
using Dimension = std::vector<Term>;

std::vector<Dimension> parse_shape(std::string_view text);

}  // namespace mflux::models
