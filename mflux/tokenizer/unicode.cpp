// SPDX-License-Identifier: MIT
// utf8proc knows one version of Unicode, the references others: tables (unicode_tables.h) say which
// characters differ, so that a text becomes the same tokens as there.
#include "mflux/tokenizer/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <span>

#include <utf8proc.h>

#include "mflux/base/error.h"
#include "mflux/tokenizer/unicode_tables.h"

namespace mflux::tokenizer {
namespace {

constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kCombiningDotAbove = 0x307;
// Below it nothing composes or is reordered, unless what stands above it follows.
constexpr char32_t kFirstCombining = 0x300;
// utf8proc sorts marks in a row in quadratic time; no language has more than a few.
constexpr size_t kMostMarks = 1000;

bool contains(std::span<const Range> ranges, char32_t character) {
  const auto after = std::ranges::upper_bound(ranges, character, {}, &Range::first);
  return after != ranges.begin() && character <= std::prev(after)->last;
}

const utf8proc_property_t& property(char32_t character) {
  return *utf8proc_get_property(static_cast<utf8proc_int32_t>(character));
}

bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Letter numbers, marks and the symbols that count as alphabetic (Other_Alphabetic).
bool is_alphabetic_symbol(char32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool breaks_between(char32_t before, char32_t after, utf8proc_int32_t& state) {
  // A character that extends like this one, and which every version knows.
  constexpr utf8proc_int32_t kCombiningGrave = 0x300;
  const auto known = [](char32_t c) {
    return contains(kExtendAfterUnicode15, c) ? kCombiningGrave : static_cast<utf8proc_int32_t>(c);
  };
  return utf8proc_grapheme_break_stateful(known(before), known(after), &state) != 0;
}

// The part of `text` that holds none of kMarksAfterUnicode9.
void append_nfc(std::string& out, std::string_view text) {
  if (text.empty()) return;
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
      static_cast<utf8proc_ssize_t>(text.size()),
      &made,
      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(made, &std::free);
  if (bytes < 0) fail("cannot normalize a text: {}", utf8proc_errmsg(bytes));
  out.append(reinterpret_cast<const char*>(made), static_cast<size_t>(bytes));
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> char32_t { return static_cast<unsigned char>(text[at + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t value = lead & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; ++i) value = value << 6 | (byte(i) & 0x3F);
  return {value, bytes};
}

Character character_before(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && is_continuation(text[end]));
  return character_at(text, end);
}

void append_utf8(std::string& text, char32_t character) {
  std::array<utf8proc_uint8_t, 4> bytes = {};
  const utf8proc_ssize_t count =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes.data());
  text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(count));
}

bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  const utf8proc_propval_t category = property(c).category;
  const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
  return letter ? !contains(kLettersAfterUnicode16, c) : contains(kLettersOfUnicode16, c);
}

bool is_number(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const utf8proc_propval_t category = property(c).category;
  const bool number = category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
  return number ? !contains(kNumbersAfterUnicode16, c) : contains(kNumbersOfUnicode16, c);
}

bool is_word(char32_t c) {
  constexpr char32_t kZeroWidthNonJoiner = 0x200C;
  constexpr char32_t kZeroWidthJoiner = 0x200D;
  if (is_letter(c) || c == kZeroWidthNonJoiner || c == kZeroWidthJoiner) return true;
  const utf8proc_propval_t category = property(c).category;
  return (category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC || is_alphabetic_symbol(c);
}

std::string nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  size_t marks = 0;   // in a row
  bool plain = true;  // text[done..at) has nothing that composes
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    // A character without combining class that composes with nothing leaves the text before it and
    // the text after it alone.
    if (c.value >= kFirstCombining) plain = false;
    marks = c.value >= kFirstCombining && property(c.value).combining_class != 0 ? marks + 1 : 0;
    if (marks > kMostMarks) {
      fail(ErrorKind::usage, "more than {} combining marks in a row in a text", kMostMarks);
    }
    if (c.value >= kFirstCombining && contains(kMarksAfterUnicode9, c.value)) {
      append_nfc(out, text.substr(done, at - done));
      out.append(text, at, c.bytes);
      done = at + c.bytes;
    }
    at += c.bytes;
  }
  if (plain)
    out.append(text, done);
  else
    append_nfc(out, text.substr(done));
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.bytes;
    if (c.value < 0x80) {
      out += static_cast<char>(c.value >= 'A' && c.value <= 'Z' ? c.value | 0x20 : c.value);
    } else if (c.value == kCapitalIWithDot) {
      out += 'i';
      append_utf8(out, kCombiningDotAbove);
    } else {
      const auto found = std::ranges::find_if(kLowerAfterUnicode15, [&](const LowerRange& range) {
        return c.value >= range.upper.first && c.value <= range.upper.last;
      });
      const auto signed_value = static_cast<utf8proc_int32_t>(c.value);
      const utf8proc_int32_t lower = found == kLowerAfterUnicode15.end()
                                         ? utf8proc_tolower(signed_value)
                                         : signed_value + found->offset;
      append_utf8(out, static_cast<char32_t>(lower));
    }
  }
  return out;
}

size_t grapheme_end(std::string_view text, size_t at) {
  utf8proc_int32_t state = 0;
  Character last = character_at(text, at);
  at += last.bytes;
  while (at < text.size()) {
    const Character next = character_at(text, at);
    if (breaks_between(last.value, next.value, state)) break;
    at += next.bytes;
    last = next;
  }
  return at;
}

}  // namespace mflux::tokenizer
