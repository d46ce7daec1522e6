// SPDX-License-Identifier: MIT
// What the pages of inspect are put together from.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/table.h"
#include "mflux/base/printable.h"

namespace mflux::cli {

using Lines = std::vector<std::string>;

inline void add_table(const Table& table, Lines& lines) {
  for (std::string& line : table.lines()) lines.push_back("  " + std::move(line));
}

// At most `bytes` of UTF-8, whole characters.
inline std::string_view beginning(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

template <typename Key>
std::string counts(const std::map<Key, size_t>& map) {
  std::vector<std::string> parts;
  for (const auto& [key, count] : map) parts.push_back(format_printable("{} x{}", key, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace mflux::cli
