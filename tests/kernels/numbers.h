// SPDX-License-Identifier: MIT
// Numbers that are the same on every machine.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace mflux::kernels::testing {

// Both signs, magnitudes over `octaves` powers of two below 1: sums of them depend on their order.
inline std::vector<float> wide_numbers(size_t count, uint32_t seed, int octaves = 24) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const auto mantissa = static_cast<float>(random() >> 8) * 0x1p-24F;
    const int exponent = static_cast<int>(random() % static_cast<uint32_t>(octaves));
    value = std::ldexp(mantissa * 2 - 1, -exponent);
  }
  return values;
}

template <typename T>
std::string bits_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

template <typename T>
std::string bits_of(const std::vector<T>& values) {
  return bits_of(std::span<const T>(values));
}

}  // namespace mflux::kernels::testing
