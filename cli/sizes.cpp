// SPDX-License-Identifier: MIT
#include "cli/sizes.h"

#include <cctype>
#include <cstdlib>

#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

double unit_bytes(const std::string& unit, const std::string& text) {
  if (unit.empty() || unit == "b") return 1;
  const size_t power = std::string("kmgt").find(unit.front()) + 1;
  const std::string rest = unit.substr(1);
  if (power == 0 || (!rest.empty() && rest != "b" && rest != "ib")) {
    fail(ErrorKind::usage, "'{}' is not a size; write for example 2GiB or 500MB", text);
  }
  const double base = rest == "b" ? 1000 : 1024;  // GB is decimal; G and GiB are binary
  double bytes = 1;
  for (size_t i = 0; i < power; ++i) bytes *= base;
  return bytes;
}

}  // namespace

uint64_t parse_size(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  std::string unit(end);
  std::erase_if(unit, [](unsigned char c) { return std::isspace(c) != 0; });
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const double bytes = number * unit_bytes(unit, text);
  if (end == text.c_str() || !(bytes >= 1) || bytes > 1e18) {
    fail(ErrorKind::usage, "'{}' is not a size; write for example 2GiB or 500MB", text);
  }
  return static_cast<uint64_t>(bytes);
}

std::string format_size(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{} bytes", bytes);
}

}  // namespace mflux::cli
