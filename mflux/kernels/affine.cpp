// SPDX-License-Identifier: MIT
#include "mflux/kernels/affine.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/affine.cpp"
#include <algorithm>
#include <cmath>
#include <cstring>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/float_bits.h"
#include "mflux/kernels/pack.h"
#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

struct ScaleAndBias {
  float scale = 0;
  float bias = 0;
};

// Both ends of a group's range, the one farther from zero kept exactly (mx.quantize,
// backend/cpu/quantized.cpp).
HWY_INLINE ScaleAndBias fit_group(const float* w, size_t size, float levels) {
  constexpr float kSmallestScale = 1e-7F;
  const Floats d;
  FloatVector low = hn::LoadU(d, w);
  FloatVector high = low;
  for (size_t i = hn::Lanes(d); i < size; i += hn::Lanes(d)) {
    const FloatVector x = hn::LoadU(d, w + i);
    low = hn::Min(low, x);
    high = hn::Max(high, x);
  }
  const float lowest = hn::GetLane(hn::MinOfLanes(d, low));
  const float highest = hn::GetLane(hn::MaxOfLanes(d, high));
  const bool low_is_farther = std::fabs(lowest) > std::fabs(highest);
  const float step = std::max((highest - lowest) / levels, kSmallestScale);
  const float scale = low_is_farther ? step : -step;
  const float edge = low_is_farther ? lowest : highest;
  const float edge_code = std::nearbyint(edge / scale);
  if (edge_code == 0) return {scale, 0};
  return {edge / edge_code, edge};
}

HWY_INLINE void round_group(
    const float* w, size_t size, float levels, ScaleAndBias fit, uint8_t* codes) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const hn::Rebind<uint8_t, Floats> bytes;
  const FloatVector scale = hn::Set(d, fit.scale);
  const FloatVector bias = hn::Set(d, fit.bias);
  const FloatVector top = hn::Set(d, levels);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const FloatVector steps = hn::Round(hn::Div(hn::Sub(hn::LoadU(d, w + i), bias), scale));
    const FloatVector code = hn::Min(hn::Max(steps, hn::Zero(d)), top);
    hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(integers, code)), bytes, codes + i);
  }
}

HWY_INLINE void store_scalar(Dtype dtype, float value, size_t index, std::byte* out) {
  if (dtype == Dtype::f32) {
    std::memcpy(out + 4 * index, &value, 4);
    return;
  }
  const uint16_t bits = dtype == Dtype::bf16 ? float_to_bf16(value) : float_to_f16(value);
  std::memcpy(out + 2 * index, &bits, 2);
}

HWY_INLINE float load_scalar(Dtype dtype, const std::byte* in, size_t index) {
  if (dtype == Dtype::f32) {
    float value = 0;
    std::memcpy(&value, in + 4 * index, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, in + 2 * index, 2);
  return dtype == Dtype::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

template <int kBits>
void quantize_bits(
    const float* w,
    size_t groups,
    size_t group_size,
    Dtype dtype,
    bool stored_scales,
    const PackedRows& out) {
  constexpr auto kLevels = static_cast<float>((1 << kBits) - 1);
  uint8_t codes[128];
  for (size_t group = 0; group < groups; ++group, w += group_size) {
    ScaleAndBias fit = fit_group(w, group_size, kLevels);
    store_scalar(dtype, fit.scale, group, out.scales.data());
    store_scalar(dtype, fit.bias, group, out.biases.data());
    if (stored_scales) fit = {rounded_to(dtype, fit.scale), rounded_to(dtype, fit.bias)};
    round_group(w, group_size, kLevels, fit, codes);
    pack_codes<kBits>(codes, group_size, out.packed.data() + group * group_size / 8 * kBits);
  }
}

template <int kBits>
void dequantize_bits(
    const ConstPackedRows& in, size_t groups, size_t group_size, Dtype dtype, float* out) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const hn::Rebind<uint8_t, Floats> bytes;
  uint8_t codes[128];
  for (size_t group = 0; group < groups; ++group, out += group_size) {
    unpack_codes<kBits>(in.packed.data() + group * group_size / 8 * kBits, group_size, codes);
    const FloatVector scale = hn::Set(d, load_scalar(dtype, in.scales.data(), group));
    const FloatVector bias = hn::Set(d, load_scalar(dtype, in.biases.data(), group));
    for (size_t i = 0; i < group_size; i += hn::Lanes(d)) {
      const auto code = hn::PromoteTo(integers, hn::LoadU(bytes, codes + i));
      hn::StoreU(hn::Add(hn::Mul(hn::ConvertTo(d, code), scale), bias), d, out + i);
    }
  }
}

void quantize_affine(
    int bits,
    const float* w,
    size_t groups,
    size_t group_size,
    Dtype dtype,
    bool stored,
    const PackedRows& out) {
  switch (bits) {
    case 2:
      return quantize_bits<2>(w, groups, group_size, dtype, stored, out);
    case 3:
      return quantize_bits<3>(w, groups, group_size, dtype, stored, out);
    case 4:
      return quantize_bits<4>(w, groups, group_size, dtype, stored, out);
    case 5:
      return quantize_bits<5>(w, groups, group_size, dtype, stored, out);
    case 6:
      return quantize_bits<6>(w, groups, group_size, dtype, stored, out);
    default:
      return quantize_bits<8>(w, groups, group_size, dtype, stored, out);
  }
}

void dequantize_affine(
    int bits,
    const ConstPackedRows& in,
    size_t groups,
    size_t group_size,
    Dtype dtype,
    float* out) {
  switch (bits) {
    case 2:
      return dequantize_bits<2>(in, groups, group_size, dtype, out);
    case 3:
      return dequantize_bits<3>(in, groups, group_size, dtype, out);
    case 4:
      return dequantize_bits<4>(in, groups, group_size, dtype, out);
    case 5:
      return dequantize_bits<5>(in, groups, group_size, dtype, out);
    case 6:
      return dequantize_bits<6>(in, groups, group_size, dtype, out);
    default:
      return dequantize_bits<8>(in, groups, group_size, dtype, out);
  }
}

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::kernels {
namespace {

HWY_EXPORT(quantize_affine);
HWY_EXPORT(dequantize_affine);

}  // namespace

void quantize_affine(
    const QuantFormat& format,
    std::span<const float> w,
    Dtype scale_dtype,
    Rounding rounding,
    PackedRows out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  HWY_DYNAMIC_DISPATCH(quantize_affine)
  (format.bits,
   w.data(),
   w.size() / group_size,
   group_size,
   scale_dtype,
   rounding == Rounding::stored_scales,
   out);
}

void dequantize_affine(
    const QuantFormat& format, ConstPackedRows in, Dtype scale_dtype, std::span<float> out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  HWY_DYNAMIC_DISPATCH(dequantize_affine)
  (format.bits, in, out.size() / group_size, group_size, scale_dtype, out.data());
}

}  // namespace mflux::kernels
#endif
