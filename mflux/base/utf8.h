// SPDX-License-Identifier: MIT
// Text in UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace mflux {

// Bytes of the character that `text`, which is not empty, begins with; 0 if it begins with none.
size_t utf8_character_bytes(std::string_view text);

// The position of the first byte that is not part of a valid character; npos if all is UTF-8.
size_t invalid_utf8(std::string_view text);

// Without white space at its ends: the characters that Python's str.strip() removes. `text` must be
// valid.
std::string_view stripped(std::string_view text);

}  // namespace mflux
