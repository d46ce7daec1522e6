// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string_view>

namespace mflux {

// Levenshtein's: how many characters have to be inserted, deleted or replaced to make `b` of `a`.
// Takes time by the product of their lengths.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace mflux
