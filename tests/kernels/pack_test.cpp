// SPDX-License-Identifier: MIT
#include "mflux/kernels/pack.h"

#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

namespace mflux::kernels::testing {
namespace {

// Bit b of code i is bit i * bits + b of the stream, whose bit n is bit n % 8 of byte n / 8.
std::vector<std::byte> bit_stream(const std::vector<uint8_t>& codes, size_t bits) {
  std::vector<std::byte> stream(codes.size() * bits / 8);
  for (size_t i = 0; i < codes.size(); ++i) {
    for (size_t b = 0; b < bits; ++b) {
      const size_t n = i * bits + b;
      if ((codes[i] >> b & 1) != 0) stream[n / 8] |= std::byte{1} << (n % 8);
    }
  }
  return stream;
}

template <int kBits>
void check_bits() {
  constexpr size_t kCodeBits = kBits;
  CAPTURE(kBits);
  std::mt19937 random(kBits);
  for (const size_t count : {0U, 8U, 16U, 40U, 128U}) {
    CAPTURE(count);
    std::vector<uint8_t> codes(count);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % (1U << kBits));
    std::vector<std::byte> packed(count * kCodeBits / 8 + 1, std::byte{0xA5});
    pack_codes<kBits>(codes.data(), count, packed.data());
    CHECK(packed.back() == std::byte{0xA5});
    packed.pop_back();
    CHECK(packed == bit_stream(codes, kCodeBits));
    std::vector<uint8_t> back(count + 1, 0x5A);
    unpack_codes<kBits>(packed.data(), count, back.data());
    CHECK(back.back() == 0x5A);
    back.pop_back();
    CHECK(back == codes);
  }
}

TEST_CASE("codes lie in one little-endian bit stream and come back") {
  check_bits<2>();
  check_bits<3>();
  check_bits<4>();
  check_bits<5>();
  check_bits<6>();
  check_bits<8>();
}

}  // namespace
}  // namespace mflux::kernels::testing
