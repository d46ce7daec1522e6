// SPDX-License-Identifier: MIT
// Text that goes into the page. Whatever comes from a file passes through escape().
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace mflux::report {

// Safe in text and in quoted attributes of HTML and SVG. What is not UTF-8, and control characters,
// become U+FFFD.
std::string escape(std::string_view text);

// The same for a long name of a tensor or file, which may be broken behind its separators.
std::string escape_name(std::string_view name);

std::string data_uri(std::span<const std::byte> png);

// Of a stored form: "8-bit affine, group 64" -> "8"; none if it is not packed.
std::optional<std::string> bits_of(const std::string& stored);

std::string readable_size(uint64_t bytes);  // "12.58 GB", "1.2 kB": decimal units
// A table that scrolls in its own box; cells are HTML. A title that begins with '>' is of a column
// of numbers.
std::string table(
    const std::vector<std::string_view>& titles, const std::vector<std::vector<std::string>>& rows);

// 0.992 -> "99.2 %"; what is less than all never reads as 100 %.
std::string percent(double share, int digits = 1);
std::string small_percent(double share);  // three digits: "0.730 %"

template <typename... Args>
void put(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

}  // namespace mflux::report
