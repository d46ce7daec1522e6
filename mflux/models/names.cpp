// SPDX-License-Identifier: MIT
#include "mflux/models/names.h"

#include <algorithm>
#include <utility>

#include "mflux/base/edit_distance.h"

namespace mflux::models {
namespace {

constexpr std::string_view kHole = "{}";
constexpr size_t kMaxDigits = 6;

size_t digits_at(std::string_view text) {
  size_t count = 0;
  while (count < text.size() && text[count] >= '0' && text[count] <= '9') ++count;
  return count;
}

uint32_t number(std::string_view digits) {
  uint32_t value = 0;
  for (const char digit : digits) value = value * 10 + static_cast<uint32_t>(digit - '0');
  return value;
}

bool is_number(std::string_view digits) {
  if (digits.empty() || digits.size() > kMaxDigits) return false;
  return digits.size() == 1 || digits.front() != '0';
}

// Numbers between dots, as far as Indices can hold them.
Indices numbers_in(std::string_view name) {
  Indices found;
  while (!name.empty() && found.count < found.at.size()) {
    const std::string_view part = name.substr(0, name.find('.'));
    if (is_number(part) && digits_at(part) == part.size()) found.at[found.count++] = number(part);
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return found;
}

}  // namespace

size_t placeholders(std::string_view pattern) {
  size_t count = 0;
  for (size_t at = pattern.find(kHole); at != pattern.npos; at = pattern.find(kHole, at + 2)) {
    ++count;
  }
  return count;
}

std::optional<Indices> match(std::string_view pattern, std::string_view name) {
  Indices found;
  for (size_t hole = pattern.find(kHole); hole != pattern.npos; hole = pattern.find(kHole)) {
    if (!name.starts_with(pattern.substr(0, hole))) return std::nullopt;
    name.remove_prefix(hole);
    pattern.remove_prefix(hole + kHole.size());
    const std::string_view digits = name.substr(0, digits_at(name));
    if (!is_number(digits) || found.count == found.at.size()) return std::nullopt;
    found.at[found.count++] = number(digits);
    name.remove_prefix(digits.size());
  }
  if (pattern != name) return std::nullopt;
  return found;
}

std::string fill(std::string_view pattern, const Indices& indices) {
  std::string name;
  size_t used = 0;
  for (size_t hole = pattern.find(kHole); hole != pattern.npos; hole = pattern.find(kHole)) {
    name += pattern.substr(0, hole);
    name += std::to_string(used < indices.count ? indices.at[used] : 0U);
    ++used;
    pattern.remove_prefix(hole + kHole.size());
  }
  return name.append(pattern);
}

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return match(pattern, name).has_value();
}

std::string join(std::string_view block, std::string_view layer) {
  std::string name(block);
  if (!block.empty() && !layer.empty()) name += '.';
  return name.append(layer);
}

std::string nearest(std::string_view name, const std::vector<std::string>& patterns) {
  constexpr size_t kLongest = 200;  // of a name worth comparing
  if (name.size() > kLongest) return {};
  const Indices numbers = numbers_in(name);
  std::string best;
  size_t least = name.size() / 2 + 1;  // farther than this is no help
  for (const std::string& pattern : patterns) {
    std::string candidate = fill(pattern, numbers);
    const size_t distance = edit_distance(name, candidate);
    if (distance < least) {
      least = distance;
      best = std::move(candidate);
    }
  }
  return best;
}

}  // namespace mflux::models
