// SPDX-License-Identifier: MIT
#include "mflux/base/number.h"

#include <algorithm>
#include <charconv>
#include <locale>
#include <sstream>
#include <string>

namespace mflux {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Removes the digits at the front; whether there were any.
bool skip_digits(std::string_view& text) {
  const auto end = std::ranges::find_if_not(text, is_digit);
  const auto count = static_cast<size_t>(end - text.begin());
  text.remove_prefix(count);
  return count > 0;
}

bool skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == any_of.npos) return false;
  text.remove_prefix(1);
  return true;
}

bool is_decimal(std::string_view text) {
  skip(text, "-");
  bool digits = skip_digits(text);
  if (skip(text, ".")) digits |= skip_digits(text);
  if (!digits) return false;
  if (!skip(text, "eE")) return text.empty();
  skip(text, "+-");
  return skip_digits(text) && text.empty();
}

}  // namespace

std::optional<double> parse_decimal(std::string_view text) {
  if (!is_decimal(text)) return std::nullopt;
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double number = 0;
  if (!(stream >> number)) return std::nullopt;
  return number;
}

std::optional<uint64_t> parse_whole(std::string_view text, uint64_t most) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stopped != end || number > most) return std::nullopt;
  return number;
}

}  // namespace mflux
