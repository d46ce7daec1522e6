// SPDX-License-Identifier: MIT
// How a text falls into the words that byte pair encoding works on: the regular expressions of the
// two families, written out as scanners.
#pragma once

#include <string_view>
#include <vector>

namespace mflux::tokenizer {

// Views into `text`, which is valid UTF-8, in its order.
std::vector<std::string_view> clip_words(std::string_view text);   // without the spaces
std::vector<std::string_view> qwen2_words(std::string_view text);  // everything

}  // namespace mflux::tokenizer
