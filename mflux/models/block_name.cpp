// SPDX-License-Identifier: MIT
#include "mflux/models/block_name.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

namespace mflux {

BlockName block_name(std::string_view name) {
  constexpr std::array<std::string_view, 4> kWords = {"blocks", "block", "layers", "layer"};
  for (size_t begin = 1; begin < name.size(); ++begin) {
    const bool separated = name[begin - 1] == '.' || name[begin - 1] == '_';
    const std::string_view before = name.substr(0, begin - 1);
    const auto ends = [&](std::string_view word) { return before.ends_with(word); };
    if (!separated || std::ranges::none_of(kWords, ends)) continue;
    const std::string_view rest = name.substr(begin);
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc()) continue;
    const auto digits = static_cast<size_t>(end - rest.data());
    return {fmt::format("{}{{}}{}", name.substr(0, begin), rest.substr(digits)), number};
  }
  return {std::string(name), std::nullopt};
}

}  // namespace mflux
