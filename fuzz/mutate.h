// SPDX-License-Identifier: MIT
// Changes that find what single bytes do not: a piece of the input many times over, so that names,
// lists and nestings get long.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace mflux::fuzz {

// xorshift64: the same numbers everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t below(uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 11) % limit;
  }

 private:
  uint64_t state_;
};

// A piece of up to 64 bytes, again and again, so that the input has up to `most` bytes.
inline void repeat_piece(std::string& input, Random& random, size_t most) {
  if (input.empty() || input.size() >= most) return;
  const size_t at = random.below(input.size());
  const size_t length = std::min<size_t>(1 + random.below(64), input.size() - at);
  const size_t most_times = (most - input.size()) / length;
  // Few more often than many.
  const size_t times = random.below(1 + most_times / (size_t{1} << random.below(12)));
  std::string more;
  for (size_t i = 0; i < times; ++i) more.append(input, at, length);
  input.insert(at, more);
}

}  // namespace mflux::fuzz
