// SPDX-License-Identifier: MIT
// Text that is ASCII and short, which is nearly all, is returned as it is. The rest is decoded
// character by character, and what is hidden or would be obeyed is escaped. Of a text that is too
// long only as much is looked at as can be shown, from both ends, so a name of 100 MB costs no more
// than one of 2 kB.
#include "mflux/base/printable.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "mflux/base/utf8.h"

namespace mflux {
namespace {

struct Range {
  uint32_t first;
  uint32_t last;
};

// Characters that have no picture of their own: Unicode's controls and formats, and the blanks that
// are lines or have no width.
constexpr std::array<Range, 20> kHidden = {{
    {0x0000, 0x001f},    // C0
    {0x007f, 0x009f},    // DEL and C1
    {0x00ad, 0x00ad},    // soft hyphen
    {0x034f, 0x034f},    // joins graphemes
    {0x061c, 0x061c},    // Arabic letter mark
    {0x115f, 0x1160},    // Hangul fillers
    {0x17b4, 0x17b5},    // Khmer vowels that are not drawn
    {0x180b, 0x180f},    // Mongolian selectors and vowel separator
    {0x200b, 0x200f},    // no width; left-to-right and right-to-left marks
    {0x2028, 0x202e},    // line, paragraph; embeddings and overrides
    {0x2060, 0x206f},    // no width; isolates
    {0x3164, 0x3164},    // Hangul filler
    {0xfe00, 0xfe0e},    // selectors of variants, but for that of pictures
    {0xfeff, 0xfeff},    // byte order mark
    {0xffa0, 0xffa0},    // Hangul filler
    {0xfff0, 0xfffb},    // annotations
    {0x1bca0, 0x1bca3},  // shorthand
    {0x1d173, 0x1d17a},  // music
    {0xe0000, 0xe0fff},  // tags, selectors
    {0x10fffe, 0x10ffff},
}};

bool is_hidden(uint32_t character) {
  return std::ranges::any_of(kHidden, [&](const Range& range) {
    return range.first <= character && character <= range.last;
  });
}

uint32_t decode(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() == 1) return byte(0);
  uint32_t value = byte(0) & (0x7fU >> bytes.size());
  for (size_t i = 1; i < bytes.size(); ++i) value = value << 6U | (byte(i) & 0x3fU);
  return value;
}

std::string escaped(std::string_view character) {
  const uint32_t value = decode(character);
  if (!is_hidden(value)) return std::string(character);
  if (value == '\n') return "\\n";
  if (value == '\r') return "\\r";
  if (value == '\t') return "\\t";
  if (value < 0x80) return fmt::format("\\x{:02x}", value);
  return value <= 0xffff ? fmt::format("\\u{:04x}", value) : fmt::format("\\U{:08x}", value);
}

// Each character as it is shown, until they have more than `enough` bytes.
std::vector<std::string> shown_characters(std::string_view text, size_t enough) {
  std::vector<std::string> characters;
  for (size_t bytes = 0; !text.empty() && bytes <= enough;) {
    const size_t size = utf8_character_bytes(text);
    characters.push_back(
        size == 0 ? fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()))
                  : escaped(text.substr(0, size)));
    bytes += characters.back().size();
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return characters;
}

bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c < '\x7f'; });
}

// The last bytes, from the beginning of a character.
std::string_view end_of(std::string_view text, size_t bytes) {
  size_t begin = text.size() - std::min(bytes, text.size());
  const size_t first = begin;
  while (begin < text.size() && begin < first + 3 &&
         (static_cast<unsigned char>(text[begin]) & 0xc0U) == 0x80) {
    ++begin;
  }
  return text.substr(begin);
}

std::string without_middle(std::string_view text, size_t limit) {
  const std::string size = fmt::format(" ({} bytes)", text.size());
  const size_t room = limit - std::min(limit, size.size() + 3);
  std::string head;
  for (const std::string& character : shown_characters(text.substr(0, limit), room)) {
    if (head.size() + character.size() > room - room / 2) break;
    head += character;
  }
  const std::vector<std::string> last = shown_characters(end_of(text, limit), std::string::npos);
  auto begin = last.end();
  for (size_t bytes = 0; begin != last.begin(); --begin) {
    bytes += std::prev(begin)->size();
    if (bytes > room / 2) break;
  }
  std::string tail;
  for (; begin != last.end(); ++begin) tail += *begin;
  return head + "..." + tail + size;
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  if (text.size() <= limit && is_plain(text)) return std::string(text);
  if (text.size() <= limit) {
    std::string result;
    for (const std::string& character : shown_characters(text, limit)) result += character;
    if (result.size() <= limit) return result;
  }
  return without_middle(text, limit);
}

std::string printable_json(std::string_view json) {
  if (is_plain(json)) return std::string(json);
  std::string result;
  for (size_t at = 0; at < json.size();) {
    const size_t size = std::max<size_t>(utf8_character_bytes(json.substr(at)), 1);
    const std::string_view character = json.substr(at, size);
    const uint32_t value = decode(character);
    at += size;
    if (value < ' ' || !is_hidden(value)) {  // blanks between values; in strings they are escaped
      result += character;
    } else if (value <= 0xffff) {
      result += fmt::format("\\u{:04x}", value);
    } else {
      const uint32_t rest = value - 0x10000;
      result += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10U), 0xdc00 + (rest & 0x3ffU));
    }
  }
  return result;
}

}  // namespace mflux
