// SPDX-License-Identifier: MIT
// Codes of 2 to 8 bits as MLX stores them: one little-endian bit stream along
// the row, lowest bits first. Eight codes fill exactly `bits` bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mflux::kernels {

// codes: one in each byte. The result's low 8 * kBits bits hold them side by
// side.
template <int kBits>
constexpr uint64_t join_codes(uint64_t codes) {
  constexpr int kGap = 8 - kBits;
  constexpr uint64_t kBytes = 0x00FF00FF00FF00FF;
  constexpr uint64_t kPairs = 0x0000FFFF0000FFFF;
  constexpr uint64_t kQuads = 0x00000000FFFFFFFF;
  codes = (codes & kBytes) | (codes & ~kBytes) >> kGap;
  codes = (codes & kPairs) | (codes & ~kPairs) >> (2 * kGap);
  return (codes & kQuads) | (codes & ~kQuads) >> (4 * kGap);
}

template <int kBits>
constexpr uint64_t split_codes(uint64_t joined) {
  constexpr int kGap = 8 - kBits;
  constexpr uint64_t kQuads = (uint64_t{1} << (4 * kBits)) - 1;
  constexpr uint64_t kPairs = ((uint64_t{1} << (2 * kBits)) - 1) * 0x0000000100000001;
  constexpr uint64_t kBytes = ((uint64_t{1} << kBits) - 1) * 0x0001000100010001;
  joined = (joined & kQuads) | (joined & ~kQuads) << (4 * kGap);
  joined = (joined & kPairs) | (joined & ~kPairs) << (2 * kGap);
  return (joined & kBytes) | (joined & ~kBytes) << kGap;
}

// count: a multiple of 8.
template <int kBits>
void pack_codes(const uint8_t* codes, size_t count, std::byte* out) {
  if constexpr (kBits == 8) {
    std::copy_n(reinterpret_cast<const std::byte*>(codes), count, out);
    return;
  }
  for (size_t i = 0; i < count; i += 8) {
    uint64_t eight = 0;
    std::memcpy(&eight, codes + i, 8);
    eight = join_codes<kBits>(eight);
    std::memcpy(out + i / 8 * kBits, &eight, kBits);
  }
}

template <int kBits>
void unpack_codes(const std::byte* in, size_t count, uint8_t* codes) {
  if constexpr (kBits == 8) {
    std::copy_n(reinterpret_cast<const uint8_t*>(in), count, codes);
    return;
  } else {
    const auto split = [&](size_t i, uint64_t joined) {
      const uint64_t eight = split_codes<kBits>(joined);
      std::memcpy(codes + i, &eight, 8);
    };
    // A word at a time as long as it lies within `in`: odd numbers of bytes are
    // slow to load.
    constexpr uint64_t kUsed = (uint64_t{1} << (8 * kBits)) - 1;
    const size_t bytes = count / 8 * kBits;
    size_t i = 0;
    for (size_t at = 0; at + 8 <= bytes; at += kBits, i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, in + at, 8);
      split(i, word & kUsed);
    }
    for (; i < count; i += 8) {
      uint64_t word = 0;
      std::memcpy(&word, in + i / 8 * kBits, kBits);
      split(i, word);
    }
  }
}

}  // namespace mflux::kernels
