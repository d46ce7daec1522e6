// SPDX-License-Identifier: MIT
#include "mflux/report/html.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "mflux/base/utf8.h"

namespace mflux::report {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

std::string_view escaped(std::string_view character) {
  switch (character.front()) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    case '\n':
    case '\t':
      return character;
    default:
      break;
  }
  const auto code = static_cast<unsigned char>(character.front());
  return code < 0x20 || code == 0x7f ? kReplacement : character;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t bytes = utf8_character_bytes(text);
    out += bytes == 0 ? kReplacement : escaped(text.substr(0, bytes));
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return out;
}

std::string escape_name(std::string_view name) {
  std::string out;
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find_first_of("./_", begin), name.size() - 1) + 1;
    out += escape(name.substr(begin, end - begin));
    if (end < name.size()) out += "<wbr>";
    begin = end;
  }
  return out;
}

std::string data_uri(std::span<const std::byte> png) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:image/png;base64,";
  out.reserve(out.size() + (png.size() + 2) / 3 * 4);
  for (size_t i = 0; i < png.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (i + j < png.size() ? std::to_integer<uint32_t>(png[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j <= png.size() ? kDigits[bits >> (18 - 6 * j) & 63U] : '=';
    }
  }
  return out;
}

std::string table(
    const std::vector<std::string_view>& titles,
    const std::vector<std::vector<std::string>>& rows) {
  const auto kind = [&](size_t column) {
    return titles[column].starts_with('>') ? " class=\"number\"" : "";
  };
  std::string out = "<div class=\"scroll\"><table>\n<tr>";
  for (size_t i = 0; i < titles.size(); ++i) {
    const size_t begin = titles[i].starts_with('>') ? 1 : 0;
    put(out, "<th{}>{}</th>", kind(i), escape(titles[i].substr(begin)));
  }
  out += "</tr>\n";
  for (const std::vector<std::string>& row : rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) put(out, "<td{}>{}</td>", kind(i), row[i]);
    out += "</tr>\n";
  }
  return out + "</table></div>\n";
}

std::optional<std::string> bits_of(const std::string& stored) {
  const size_t end = stored.find("-bit");
  return end == stored.npos ? std::nullopt : std::optional(stored.substr(0, end));
}

std::string readable_size(uint64_t bytes) {
  constexpr std::array<std::string_view, 4> kUnits = {"kB", "MB", "GB", "TB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, value < 100 ? 2 - (value >= 10) : 0, kUnits[unit]);
}

std::string percent(double share, int digits) {
  // 99.96 % must not read as all of it, nor 99.2 % as 99.1 % because 0.992 is not a binary
  // fraction.
  const double scale = std::pow(10, digits);
  const double shown = share * 100;
  if (std::abs(shown) >= 1e6) return fmt::format("{:.3g} %", shown);
  const double cut = std::floor(shown * scale + 1e-6) / scale;
  return fmt::format("{:.{}f} %", share < 1 ? cut : shown, digits);
}

std::string small_percent(double share) {
  return fmt::format("{:#.3g} %", share * 100);
}

}  // namespace mflux::report
