// SPDX-License-Identifier: MIT
// Name patterns: "transformer_blocks.{}.attn.to_q", where {} stands for a block number.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace mflux::models {

// The block numbers of a name, outermost first.
struct Indices {
  std::array<uint32_t, 2> at = {};
  uint8_t count = 0;
  bool operator==(const Indices&) const = default;
  // By hand, because std::array has no <=> in libc++ before 17.
  std::strong_ordering operator<=>(const Indices& other) const {
    return std::tie(at[0], at[1], count) <=> std::tie(other.at[0], other.at[1], other.count);
  }
};

size_t placeholders(std::string_view pattern);

// The numbers for which fill(pattern, numbers) == name. Numbers of more than six digits do not
// count as one.
std::optional<Indices> match(std::string_view pattern, std::string_view name);

// Surplus numbers are ignored, missing ones are 0.
std::string fill(std::string_view pattern, const Indices& indices);

// Does it match; "prefix*" matches every name with this beginning.
bool matches(std::string_view pattern, std::string_view name);

// "a.b", or the one that is not empty.
std::string join(std::string_view block, std::string_view layer);

// The pattern nearest to `name` by edit distance, filled with the numbers of `name`; empty if none
// is near.
std::string nearest(std::string_view name, const std::vector<std::string>& patterns);

}  // namespace mflux::models
