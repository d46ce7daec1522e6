// SPDX-License-Identifier: MIT
// The map is a double-array trie as Darts writes it: a node's child for a byte stands at the node's
// offset XOR the byte, if its label is that byte. Offsets come from a file, so every index is
// checked on the way.
#include "mflux/tokenizer/charsmap.h"

#include <algorithm>
#include <cstring>

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

// A unit of the array: the label in the low byte, whether a value hangs below, how far the
// children are. A value unit has bit 31 set and the value in the rest.
constexpr uint32_t kIsValue = uint32_t{1} << 31;
bool has_value(uint32_t unit) {
  return (unit >> 8 & 1) == 1;
}
uint32_t value_of(uint32_t unit) {
  return unit & ~kIsValue;
}
uint32_t label_of(uint32_t unit) {
  return unit & (kIsValue | 0xFF);
}
size_t offset_of(uint32_t unit) {
  return size_t{unit >> 10} << ((unit & (1U << 9)) >> 6);
}

// So that a text does not become much longer. The longest published one has 33 bytes.
constexpr size_t kLongest = 100;  // bytes of a replacement

}  // namespace

Charsmap::Charsmap(std::string_view bytes, std::string_view file) {
  if (bytes.empty()) return;
  uint32_t array_bytes = 0;
  if (bytes.size() < sizeof(array_bytes)) fail("{}: the charsmap ends in its first number", file);
  std::memcpy(&array_bytes, bytes.data(), sizeof(array_bytes));
  bytes.remove_prefix(sizeof(array_bytes));
  if (array_bytes > bytes.size() || array_bytes % sizeof(uint32_t) != 0 || array_bytes == 0) {
    fail(
        "{}: the charsmap's array has {} bytes of the {} that follow",
        file,
        array_bytes,
        bytes.size());
  }
  units_.resize(array_bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), bytes.data(), array_bytes);
  replacements_ = bytes.substr(array_bytes);
  if (invalid_utf8(replacements_) != std::string::npos)
    fail("{}: the charsmap's replacements are not UTF-8", file);
  // Where the children of a node are is not checked here but on the way.
  for (const uint32_t unit : units_) {
    if ((unit & kIsValue) == 0) continue;
    const uint32_t start = value_of(unit);
    if (start >= replacements_.size() ||
        (static_cast<unsigned char>(replacements_[start]) & 0xC0) == 0x80) {
      fail("{}: the charsmap has a replacement at {}, which is not a character", file, start);
    }
    const std::string_view begins = std::string_view(replacements_).substr(start, kLongest + 1);
    if (begins.size() > kLongest && begins.find('\0') == begins.npos) {
      fail("{}: the charsmap's replacement at {} has more than {} bytes", file, start, kLongest);
    }
  }
}

std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  if (units_.empty()) return std::nullopt;
  size_t at = offset_of(units_[0]);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    at ^= byte;
    if (at >= units_.size() || label_of(units_[at]) != byte) return std::nullopt;
    const uint32_t unit = units_[at];
    at ^= offset_of(unit);
    if (!has_value(unit)) continue;
    if (at >= units_.size() || (units_[at] & kIsValue) == 0) return std::nullopt;
    const size_t start = value_of(units_[at]);
    const size_t end = std::min(replacements_.find('\0', start), replacements_.size());
    return std::string_view(replacements_).substr(start, end - start);
  }
  return std::nullopt;
}

std::string Charsmap::normalize(std::string_view text) const {
  if (units_.empty()) return std::string(text);
  // A longer grapheme is taken character by character.
  constexpr size_t kLongGrapheme = 6;  // bytes
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = grapheme_end(text, at);
    if (end - at < kLongGrapheme) {
      if (const auto whole = replacement(text.substr(at, end - at))) {
        out.append(*whole);
        at = end;
        continue;
      }
    }
    while (at < end) {
      const std::string_view character = text.substr(at, character_at(text, at).bytes);
      out.append(replacement(character).value_or(character));
      at += character.size();
    }
  }
  return out;
}

}  // namespace mflux::tokenizer
