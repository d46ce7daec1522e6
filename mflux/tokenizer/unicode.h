// SPDX-License-Identifier: MIT
// Text in UTF-8 and the properties of its characters, as the Rust library `tokenizers` 0.23 has
// them: its regular expressions know Unicode 16, its NFC Unicode 9, its lower case Unicode 17.
// utf8proc brings the data; where its version would make a difference, a table decides.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mflux::tokenizer {

struct Character {
  char32_t value = 0;
  size_t bytes = 0;  // 1 to 4
};

// The character that begins at `at`, which is below text.size(). For valid UTF-8 only, as all of
// the following.
Character character_at(std::string_view text, size_t at);
// The character that ends at `end`, which is above zero.
Character character_before(std::string_view text, size_t end);
void append_utf8(std::string& text, char32_t character);

bool is_space(char32_t character);   // White_Space
bool is_letter(char32_t character);  // general category L
bool is_number(char32_t character);  // general category N
bool is_word(char32_t character);    // \w of Rust's `regex`

std::string nfc(std::string_view text);
std::string lowercase(std::string_view text);  // character by character, without context

// Where the extended grapheme cluster ends that begins at `at`.
size_t grapheme_end(std::string_view text, size_t at);

}  // namespace mflux::tokenizer
