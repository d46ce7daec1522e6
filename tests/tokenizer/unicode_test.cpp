// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/unicode.h"

#include <doctest/doctest.h>

namespace mflux::tokenizer {
namespace {

TEST_CASE("characters are read forwards and backwards and written back") {
  const std::string text = "a\u00e9\u4e00\U0001F600";
  std::string copy;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    append_utf8(copy, c.value);
    at += c.bytes;
    CHECK(character_before(text, at).value == c.value);
  }
  CHECK(copy == text);
  CHECK(character_at(text, 6).value == 0x1F600);
}

TEST_CASE("letters and numbers are those of Unicode 16, whatever utf8proc knows") {
  CHECK(is_letter('z'));
  CHECK(is_letter(0xE9));
  CHECK(is_letter(0x4E00));
  CHECK(is_letter(0x1C89));         // Unicode 16
  CHECK_FALSE(is_letter(0x16EA0));  // Unicode 17
  CHECK_FALSE(is_letter(0x301));
  CHECK_FALSE(is_letter('@'));
  CHECK_FALSE(is_letter('['));
  CHECK(is_number('7'));
  CHECK(is_number(0x0664));         // Arabic-Indic
  CHECK(is_number(0xBD));           // 1/2
  CHECK(is_number(0x1CCF0));        // Unicode 16
  CHECK_FALSE(is_number(0x11DE0));  // Unicode 17
  CHECK(is_space(0x85));
  CHECK(is_space(0x3000));
  CHECK_FALSE(is_space(0x200B));
  CHECK_FALSE(is_space(0x1F));
  CHECK(is_word('_'));
  CHECK(is_word(0x301));
  CHECK(is_word(0x24B6));
  CHECK_FALSE(is_word('-'));
}

TEST_CASE("NFC composes and reorders what Unicode 9 knows") {
  CHECK(nfc("plain") == "plain");
  CHECK(nfc("e\u0301") == "\u00e9");
  CHECK(nfc("a\u0301\u0323") == "\u1ea1\u0301");
  CHECK(nfc("\u1100\u1161\u11a8") == "\uac01");
  CHECK(nfc("\u212b") == "\u00c5");
  // A mark of Unicode 14: it stays, and the marks around it do not pass it.
  CHECK(nfc("e\u0898\u0301") == "e\u0898\u0301");
  CHECK(nfc("o\u0301\u0898e\u0301\u0323") == "\u00f3\u0898\u1eb9\u0301");
  CHECK(nfc(std::string("e\0\u0301", 4)) == std::string("e\0\u0301", 4));
}

TEST_CASE("lower case goes character by character") {
  CHECK(lowercase("ABC xyz 1") == "abc xyz 1");
  CHECK(lowercase("\u0130") == "i\u0307");
  CHECK(lowercase("\u03a3\u03a3") == "\u03c3\u03c3");  // no final sigma
  CHECK(lowercase("\u1e9e") == "\u00df");
  CHECK(lowercase("\u1c89") == "\u1c8a");  // Unicode 16
}

TEST_CASE("graphemes keep what belongs together") {
  CHECK(grapheme_end("ab", 0) == 1);
  CHECK(grapheme_end("e\u0301x", 0) == 3);
  CHECK(grapheme_end("\r\nx", 0) == 2);
  CHECK(grapheme_end("e\u0897x", 0) == 4);                        // a mark of Unicode 16
  CHECK(grapheme_end("\U0001F1E9\U0001F1EA\U0001F1EB", 0) == 8);  // two flags' letters
}

}  // namespace
}  // namespace mflux::tokenizer
