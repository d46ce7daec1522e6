// SPDX-License-Identifier: MIT
// Single values between float32 and the narrower formats. Widening is exact; narrowing rounds once,
// to nearest even.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "mflux/base/tensor.h"

namespace mflux::kernels {

inline float bf16_to_float(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

inline uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return static_cast<uint16_t>((bits >> 16) | 0x40);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float f16_to_float(uint16_t bits) {
  const uint32_t magnitude = bits & 0x7FFFU;
  // 2^112 moves the exponent from float16's bias to float32's, subnormals included.
  uint32_t result = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112F);
  if (magnitude >= 0x7C00) result |= 0x7F800000;
  return std::bit_cast<float>(result | (uint32_t{bits} & 0x8000) << 16);
}

inline uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t result = 0;
  if (magnitude > 0x7F800000) {
    result = 0x7E00;
  } else if (magnitude >= 0x477FF000) {  // from 65520 on
    result = 0x7C00;
  } else if (magnitude < 0x38800000) {  // subnormal: the last place of 0.5 + x is 2^-24
    result = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3F000000;
  } else {
    result = (magnitude + 0xFFF + ((magnitude >> 13) & 1) - (112U << 23)) >> 13;
  }
  return static_cast<uint16_t>(result | sign);
}

// OCP E4M3 without infinities; 448 and above saturate.
inline uint8_t float_to_e4m3(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80;
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  uint32_t result = 0;
  if (magnitude >= 0x43E00000) {  // 448
    result = 0x7E;
  } else if (magnitude < 0x3C800000) {  // below 2^-6: the last place of 2^14 + x is 2^-9
    result = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14F) & 0xFF;
  } else {
    result = (magnitude + 0x7FFFF + ((magnitude >> 20) & 1) - (120U << 23)) >> 20;
  }
  return static_cast<uint8_t>(result | sign);
}

inline float e4m3_to_float(uint8_t bits) {
  const uint32_t magnitude = bits & 0x7FU;
  uint32_t result = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude << 20) * 0x1p120F);
  if (magnitude == 0x7F) result = 0x7FC00000;
  return std::bit_cast<float>(result | (uint32_t{bits} & 0x80) << 24);
}

inline float e5m2_to_float(uint8_t bits) {
  return f16_to_float(static_cast<uint16_t>(bits << 8));
}

// The value that remains when `value` is stored as F32, F16 or BF16.
inline float rounded_to(Dtype dtype, float value) {
  if (dtype == Dtype::bf16) return bf16_to_float(float_to_bf16(value));
  if (dtype == Dtype::f16) return f16_to_float(float_to_f16(value));
  return value;
}

// Value `index` of an array of F32, F16 or BF16.
inline float load_float(Dtype dtype, const std::byte* values, size_t index) {
  if (dtype == Dtype::f32) {
    float value = 0;
    std::memcpy(&value, values + 4 * index, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, values + 2 * index, 2);
  return dtype == Dtype::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

}  // namespace mflux::kernels
