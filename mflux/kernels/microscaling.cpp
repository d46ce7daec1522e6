// SPDX-License-Identifier: MIT
// A group at a time: its largest magnitude gives the scale, weights are divided by it and rounded
// by comparison with the borders between codes. Every step is rounded to the dtype in which MLX
// would calculate.
#include "mflux/kernels/microscaling.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/microscaling.cpp"
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/float_bits.h"
#include "mflux/kernels/pack.h"
#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

// E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6. A value halfway between two goes to the smaller, as in
// mx.quantize.
HWY_INLINE uint8_t e2m1_code(float value) {
  const float magnitude = std::fabs(value);
  unsigned code = 0;
  for (const float halfway : {0.25F, 0.75F, 1.25F, 1.75F, 2.5F, 3.5F, 5.0F})
    code += magnitude > halfway ? 1U : 0U;
  return static_cast<uint8_t>(code != 0 && value < 0 ? code + 8 : code);
}

HWY_INLINE float largest_magnitude(const float* w, size_t size) {
  const Floats d;
  FloatVector largest = hn::Zero(d);
  for (size_t i = 0; i < size; i += hn::Lanes(d))
    largest = hn::Max(largest, hn::Abs(hn::LoadU(d, w + i)));
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// The smallest power of two that is not below `value`, as an E8M0 byte; 1 for 0.
HWY_INLINE uint8_t e8m0_ceil(float value) {
  if (value == 0) return 127;
  int exponent = 0;
  const float mantissa = std::frexp(value, &exponent);  // in [0.5, 1)
  if (mantissa == 0.5F) --exponent;
  return static_cast<uint8_t>(std::clamp(exponent + 127, 0, 254));
}

// The codes of one group, one to a byte; 0 everywhere if the scale came out as 0.
template <bool kEightBits>
HWY_INLINE void encode_group(
    const float* w, size_t size, float scale, Dtype calculation, uint8_t* codes) {
  for (size_t i = 0; i < size; ++i) {
    const float value = scale == 0 ? 0 : rounded_to(calculation, w[i] / scale);
    codes[i] = kEightBits ? float_to_e4m3(value) : e2m1_code(value);
  }
}

// Scales in powers of two (E8M0), 32 weights each.
template <bool kEightBits>
void quantize_mx(const float* w, size_t groups, Dtype calculation, const PackedRows& out) {
  constexpr size_t kGroup = 32;
  constexpr size_t kGroupBytes = kEightBits ? 32 : 16;
  uint8_t codes[kGroup];
  for (size_t group = 0; group < groups; ++group, w += kGroup) {
    const float target = largest_magnitude(w, kGroup) / (kEightBits ? 448.0F : 6.0F);
    const uint8_t exponent = e8m0_ceil(rounded_to(calculation, target));
    out.scales[group] = std::byte{exponent};
    const float scale = rounded_to(calculation, std::ldexp(1.0F, exponent - 127));
    encode_group<kEightBits>(w, kGroup, scale, calculation, codes);
    pack_codes<kEightBits ? 8 : 4>(codes, kGroup, out.packed.data() + group * kGroupBytes);
  }
}

// Scales in E4M3, 16 weights each.
void quantize_nv(const float* w, size_t groups, Dtype calculation, const PackedRows& out) {
  constexpr size_t kGroup = 16;
  uint8_t codes[kGroup];
  for (size_t group = 0; group < groups; ++group, w += kGroup) {
    const uint8_t bits =
        float_to_e4m3(rounded_to(calculation, largest_magnitude(w, kGroup) / 6.0F));
    out.scales[group] = std::byte{bits};
    encode_group<false>(
        w, kGroup, rounded_to(calculation, e4m3_to_float(bits)), calculation, codes);
    pack_codes<4>(codes, kGroup, out.packed.data() + group * kGroup / 2);
  }
}

void quantize_microscaling(
    QuantMode mode, const float* w, size_t groups, Dtype calculation, const PackedRows& out) {
  switch (mode) {
    case QuantMode::mxfp4:
      return quantize_mx<false>(w, groups, calculation, out);
    case QuantMode::mxfp8:
      return quantize_mx<true>(w, groups, calculation, out);
    case QuantMode::nvfp4:
      return quantize_nv(w, groups, calculation, out);
    case QuantMode::affine:
      return;
  }
}

// `scales`: one of each group.
template <bool kEightBits>
void round_groups(
    const float* w, size_t groups, size_t group_size, const float* scales, std::byte* packed) {
  constexpr size_t kBits = kEightBits ? 8 : 4;
  uint8_t codes[32];
  for (size_t group = 0; group < groups; ++group, w += group_size) {
    encode_group<kEightBits>(w, group_size, scales[group], Dtype::f32, codes);
    pack_codes<kBits>(codes, group_size, packed + group * group_size / 8 * kBits);
  }
}

void quantize_microscaling_on_grid(
    QuantMode mode,
    const float* w,
    size_t groups,
    size_t group_size,
    const float* scales,
    std::byte* packed) {
  if (mode == QuantMode::mxfp8) return round_groups<true>(w, groups, group_size, scales, packed);
  round_groups<false>(w, groups, group_size, scales, packed);
}

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::kernels {
namespace {

HWY_EXPORT(quantize_microscaling);
HWY_EXPORT(quantize_microscaling_on_grid);

constexpr std::array<float, 16> kE2m1 = {
    0, 0.5F, 1, 1.5F, 2, 3, 4, 6, -0.0F, -0.5F, -1, -1.5F, -2, -3, -4, -6};

}  // namespace

void quantize_microscaling(
    const QuantFormat& format, std::span<const float> w, Dtype calculation, PackedRows out) {
  const size_t groups = w.size() / static_cast<size_t>(format.group_size);
  HWY_DYNAMIC_DISPATCH(quantize_microscaling)(format.mode, w.data(), groups, calculation, out);
}

void quantize_microscaling_on_grid(
    const QuantFormat& format, std::span<const float> w, PackedRows out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  const size_t groups = w.size() / group_size;
  std::vector<float> scales(groups);
  for (size_t i = 0; i < groups; ++i) scales[i] = microscaling_scale(format.mode, out.scales[i]);
  HWY_DYNAMIC_DISPATCH(quantize_microscaling_on_grid)
  (format.mode, w.data(), groups, group_size, scales.data(), out.packed.data());
}

float microscaling_scale(QuantMode mode, std::byte stored) {
  const auto bits = std::to_integer<uint8_t>(stored);
  return mode == QuantMode::nvfp4 ? e4m3_to_float(bits) : std::ldexp(1.0F, bits - 127);
}

float e2m1_to_float(uint8_t code) {
  return kE2m1.at(code);
}

void dequantize_microscaling(const QuantFormat& format, ConstPackedRows in, std::span<float> out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  const bool eight_bits = format.bits == 8;
  for (size_t group = 0; group * group_size < out.size(); ++group) {
    const float scale = microscaling_scale(format.mode, in.scales[group]);
    for (size_t i = group * group_size; i < (group + 1) * group_size; ++i) {
      const auto byte = std::to_integer<uint8_t>(in.packed[eight_bits ? i : i / 2]);
      const float value =
          eight_bits ? e4m3_to_float(byte) : kE2m1[i % 2 == 0 ? byte & 15 : byte >> 4];
      out[i] = value * scale;
    }
  }
}

}  // namespace mflux::kernels
#endif
