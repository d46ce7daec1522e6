// SPDX-License-Identifier: MIT
// Narrow floats by their definition, in double arithmetic: sign, exponent, mantissa. Slow and
// sharing nothing with the kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace mflux::kernels::testing {

struct FloatLayout {
  int exponent_bits;
  int mantissa_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  uint32_t top_exponent() const { return (1U << exponent_bits) - 1; }
  uint32_t mantissa_mask() const { return (1U << mantissa_bits) - 1; }
  uint32_t sign_bit() const { return 1U << (exponent_bits + mantissa_bits); }
};

constexpr FloatLayout kBf16{8, 7};
constexpr FloatLayout kF16{5, 10};
constexpr FloatLayout kE5m2{5, 2};
constexpr FloatLayout kE4m3{4, 3};  // its top exponent holds numbers too; the caller minds the NaN
constexpr FloatLayout kE2m1{2, 1};  // numbers only

// `ieee`: the top exponent means infinity and NaN.
inline double decode(FloatLayout layout, uint32_t bits, bool ieee = true) {
  const uint32_t exponent = bits >> layout.mantissa_bits & layout.top_exponent();
  const auto mantissa = static_cast<double>(bits & layout.mantissa_mask());
  const double sign = (bits & layout.sign_bit()) != 0 ? -1 : 1;
  if (ieee && exponent == layout.top_exponent()) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const int shift = (exponent == 0 ? 1 : static_cast<int>(exponent)) - layout.bias();
  const double one = exponent == 0 ? 0 : 1;
  return sign * std::ldexp(one + std::ldexp(mantissa, -layout.mantissa_bits), shift);
}

// To nearest, ties to even, beyond the range infinite; `value` is no NaN.
inline uint32_t encode(FloatLayout layout, double value) {
  const uint32_t sign = std::signbit(value) ? layout.sign_bit() : 0;
  const uint32_t infinity = layout.top_exponent() << layout.mantissa_bits;
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | infinity;
  const int lowest = 1 - layout.bias();
  const int exponent = magnitude == 0 ? lowest : std::max(lowest, std::ilogb(magnitude));
  // In units of the last place; nearbyint() rounds to even, and a carry moves the exponent by
  // itself.
  const double units = std::nearbyint(std::ldexp(magnitude, layout.mantissa_bits - exponent));
  const auto steps = static_cast<uint64_t>(units);
  const auto binades = static_cast<uint64_t>(exponent - lowest) << layout.mantissa_bits;
  const uint64_t bits = binades + steps;
  return sign | static_cast<uint32_t>(bits < infinity ? bits : infinity);
}

}  // namespace mflux::kernels::testing
