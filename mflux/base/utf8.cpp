// SPDX-License-Identifier: MIT
#include "mflux/base/utf8.h"

#include <algorithm>
#include <array>

namespace mflux {
namespace {

struct Range {
  std::string_view first;
  std::string_view last;
};

// What Python's str.isspace() says yes to, in UTF-8, whose order is that of the characters.
constexpr std::array<Range, 10> kBlanks = {{
    {"\t", "\r"},
    {"\x1c", " "},
    {"\u0085", "\u0085"},
    {"\u00a0", "\u00a0"},
    {"\u1680", "\u1680"},
    {"\u2000", "\u200a"},
    {"\u2028", "\u2029"},
    {"\u202f", "\u202f"},
    {"\u205f", "\u205f"},
    {"\u3000", "\u3000"},
}};

bool is_blank(std::string_view character) {
  return std::ranges::any_of(kBlanks, [&](const Range& range) {
    return character.size() == range.first.size() && character >= range.first &&
           character <= range.last;
  });
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80;
}

}  // namespace

size_t utf8_character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  if (!std::ranges::all_of(text.substr(1, size - 1), is_continuation)) return 0;
  const unsigned second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool outside = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return overlong || outside ? 0 : size;
}

size_t invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = utf8_character_bytes(text.substr(at));
    if (bytes == 0) return at;
    at += bytes;
  }
  return std::string_view::npos;
}

std::string_view stripped(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = utf8_character_bytes(text);
    if (!is_blank(text.substr(0, bytes))) break;
    text.remove_prefix(bytes);
  }
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && is_continuation(text[begin])) --begin;
    if (!is_blank(text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace mflux
