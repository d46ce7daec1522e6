// SPDX-License-Identifier: MIT
// 64 groups at a time: the range of each, then all scales and biases together, then the codes of
// each group, by a product with the reciprocal where that is certain to round like the division.
// Codes are bytes until they are packed.
#include "mflux/kernels/affine.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/affine.cpp"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/float_bits.h"
#include "mflux/kernels/pack.h"
#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

constexpr size_t kLargestGroup = 128;
constexpr size_t kChunk = 64;  // groups worked on together, so that their divisions overlap

struct Fits {
  HWY_ALIGN float low[kChunk] = {};
  HWY_ALIGN float high[kChunk] = {};
  HWY_ALIGN float scale[kChunk] = {};
  HWY_ALIGN float bias[kChunk] = {};
};

HWY_INLINE void find_range(const float* w, size_t size, float& lowest, float& highest) {
  const Floats d;
  FloatVector low = hn::LoadU(d, w);
  FloatVector high = low;
  for (size_t i = hn::Lanes(d); i < size; i += hn::Lanes(d)) {
    const FloatVector x = hn::LoadU(d, w + i);
    low = hn::Min(low, x);
    high = hn::Max(high, x);
  }
  lowest = hn::GetLane(hn::MinOfLanes(d, low));
  highest = hn::GetLane(hn::MaxOfLanes(d, high));
}

// Both ends of a group's range, the one farther from zero kept exactly (mx.quantize,
// backend/cpu/quantized.cpp).
HWY_INLINE void fit_groups(Fits& fits, size_t groups, float levels) {
  const Floats d;
  const FloatVector smallest_scale = hn::Set(d, 1e-7F);
  for (size_t i = 0; i < groups; i += hn::Lanes(d)) {
    const FloatVector low = hn::Load(d, fits.low + i);
    const FloatVector high = hn::Load(d, fits.high + i);
    const auto low_is_farther = hn::Gt(hn::Abs(low), hn::Abs(high));
    const FloatVector step =
        hn::Max(hn::Div(hn::Sub(high, low), hn::Set(d, levels)), smallest_scale);
    const FloatVector scale = hn::IfThenElse(low_is_farther, step, hn::Neg(step));
    const FloatVector edge = hn::IfThenElse(low_is_farther, low, high);
    const FloatVector edge_code = hn::Round(hn::Div(edge, scale));
    const auto at_zero = hn::Eq(edge_code, hn::Zero(d));
    hn::Store(hn::IfThenElse(at_zero, scale, hn::Div(edge, edge_code)), d, fits.scale + i);
    hn::Store(hn::IfThenZeroElse(at_zero, edge), d, fits.bias + i);
  }
}

// The reciprocal of a scale, or NaN where it would be too coarse to tell anything.
HWY_INLINE float coarse_reciprocal(float scale) {
  const float magnitude = std::fabs(scale);
  const bool is_normal = magnitude > 0x1p-100F && magnitude < 0x1p100F;
  return is_normal ? 1 / scale : std::numeric_limits<float>::quiet_NaN();
}

// rint(x / scale), bit for bit. A product with the reciprocal is within 5e-5 of the quotient up to
// 257, where codes end; only a vector in which some product lies closer than that to a border
// between two codes needs the division.
HWY_INLINE FloatVector
rounded_quotient(Floats d, FloatVector x, FloatVector scale, FloatVector reciprocal) {
  const FloatVector product = hn::Mul(x, reciprocal);
  const FloatVector nearest = hn::Round(product);
  const FloatVector distance = hn::Abs(hn::Sub(product, nearest));
  if (HWY_LIKELY(hn::AllTrue(d, hn::Lt(distance, hn::Set(d, 0.4999F))))) return nearest;
  return hn::Round(hn::Div(x, scale));
}

HWY_INLINE void round_group(
    const float* w,
    size_t size,
    float levels,
    float group_scale,
    float group_bias,
    uint8_t* codes) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const hn::Rebind<uint8_t, Floats> bytes;
  const FloatVector scale = hn::Set(d, group_scale);
  const FloatVector reciprocal = hn::Set(d, coarse_reciprocal(group_scale));
  const FloatVector bias = hn::Set(d, group_bias);
  const FloatVector top = hn::Set(d, levels);
  for (size_t i = 0; i < size; i += hn::Lanes(d)) {
    const FloatVector steps =
        rounded_quotient(d, hn::Sub(hn::LoadU(d, w + i), bias), scale, reciprocal);
    const FloatVector code = hn::Min(hn::Max(steps, hn::Zero(d)), top);
    hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(integers, code)), bytes, codes + i);
  }
}

// Writes the scales or biases, and replaces them by what was written if `keep_stored`.
HWY_INLINE void store_scalars(
    Dtype dtype, bool keep_stored, size_t count, float* values, std::byte* out) {
  if (dtype == Dtype::f32) {
    std::memcpy(out, values, 4 * count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const uint16_t bits = dtype == Dtype::bf16 ? float_to_bf16(values[i]) : float_to_f16(values[i]);
    std::memcpy(out + 2 * i, &bits, 2);
    if (keep_stored) values[i] = dtype == Dtype::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
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
  const size_t scale_bytes = dtype_bytes(dtype);
  Fits fits;
  for (size_t begin = 0; begin < groups; begin += kChunk) {
    const size_t count = std::min(kChunk, groups - begin);
    for (size_t i = 0; i < count; ++i)
      find_range(w + i * group_size, group_size, fits.low[i], fits.high[i]);
    fit_groups(fits, count, kLevels);
    store_scalars(dtype, stored_scales, count, fits.scale, out.scales.data() + begin * scale_bytes);
    store_scalars(dtype, stored_scales, count, fits.bias, out.biases.data() + begin * scale_bytes);
    for (size_t i = 0; i < count; ++i, w += group_size) {
      std::byte* packed = out.packed.data() + (begin + i) * group_size / 8 * kBits;
      if constexpr (kBits == 8) {
        round_group(
            w,
            group_size,
            kLevels,
            fits.scale[i],
            fits.bias[i],
            reinterpret_cast<uint8_t*>(packed));
      } else {
        uint8_t codes[kLargestGroup];
        round_group(w, group_size, kLevels, fits.scale[i], fits.bias[i], codes);
        pack_codes<kBits>(codes, group_size, packed);
      }
    }
  }
}

template <int kBits>
void round_bits(
    const float* w, size_t groups, size_t group_size, Dtype dtype, const PackedRows& out) {
  constexpr auto kLevels = static_cast<float>((1 << kBits) - 1);
  for (size_t group = 0; group < groups; ++group, w += group_size) {
    uint8_t codes[kLargestGroup] = {};
    const float scale = load_float(dtype, out.scales.data(), group);
    const float bias = load_float(dtype, out.biases.data(), group);
    if (scale != 0) round_group(w, group_size, kLevels, scale, bias, codes);
    pack_codes<kBits>(codes, group_size, out.packed.data() + group * group_size / 8 * kBits);
  }
}

template <int kBits>
void dequantize_bits(
    const ConstPackedRows& in, size_t groups, size_t group_size, Dtype dtype, float* out) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const hn::Rebind<uint8_t, Floats> bytes;
  uint8_t codes[kLargestGroup];
  for (size_t group = 0; group < groups; ++group, out += group_size) {
    unpack_codes<kBits>(in.packed.data() + group * group_size / 8 * kBits, group_size, codes);
    const FloatVector scale = hn::Set(d, load_float(dtype, in.scales.data(), group));
    const FloatVector bias = hn::Set(d, load_float(dtype, in.biases.data(), group));
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

void quantize_affine_on_grid(
    int bits,
    const float* w,
    size_t groups,
    size_t group_size,
    Dtype dtype,
    const PackedRows& out) {
  switch (bits) {
    case 2:
      return round_bits<2>(w, groups, group_size, dtype, out);
    case 3:
      return round_bits<3>(w, groups, group_size, dtype, out);
    case 4:
      return round_bits<4>(w, groups, group_size, dtype, out);
    case 5:
      return round_bits<5>(w, groups, group_size, dtype, out);
    case 6:
      return round_bits<6>(w, groups, group_size, dtype, out);
    default:
      return round_bits<8>(w, groups, group_size, dtype, out);
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
HWY_EXPORT(quantize_affine_on_grid);
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

void quantize_affine_on_grid(
    const QuantFormat& format, std::span<const float> w, Dtype scale_dtype, PackedRows out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  HWY_DYNAMIC_DISPATCH(quantize_affine_on_grid)
  (format.bits, w.data(), w.size() / group_size, group_size, scale_dtype, out);
}

void dequantize_affine(
    const QuantFormat& format, ConstPackedRows in, Dtype scale_dtype, std::span<float> out) {
  const auto group_size = static_cast<size_t>(format.group_size);
  HWY_DYNAMIC_DISPATCH(dequantize_affine)
  (format.bits, in, out.size() / group_size, group_size, scale_dtype, out.data());
}

}  // namespace mflux::kernels
#endif
