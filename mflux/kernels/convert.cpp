// SPDX-License-Identifier: MIT
// Vectors for BF16, which is most of what is read and written; tables for 8 bits; loops for the
// rest. What is narrowed is rounded to the nearest even, and a NaN stays one.
#include "mflux/kernels/convert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/convert.cpp"
#include <cstring>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/float_bits.h"
#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

void widen_bf16(const std::byte* in, size_t count, float* out) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> wide;
  const hn::Rebind<uint16_t, Floats> narrow;
  const auto* bits = reinterpret_cast<const uint16_t*>(in);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto vector = hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, bits + i)));
    hn::StoreU(hn::BitCast(d, vector), d, out + i);
  }
  for (; i < count; ++i) {
    uint16_t value = 0;
    std::memcpy(&value, in + 2 * i, 2);
    out[i] = bf16_to_float(value);
  }
}

void narrow_bf16(const float* in, size_t count, std::byte* out) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> wide;
  const hn::RebindToSigned<Floats> wide_signed;
  const hn::Rebind<uint16_t, Floats> narrow;
  const auto infinity = hn::Set(wide, 0x7F800000);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto bits = hn::BitCast(wide, hn::LoadU(d, in + i));
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(wide, 0x7FFF))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(wide, 0x40));
    const auto magnitude = hn::And(bits, hn::Set(wide, 0x7FFFFFFF));
    const auto is_nan =
        hn::Gt(hn::BitCast(wide_signed, magnitude), hn::BitCast(wide_signed, infinity));
    const auto result =
        hn::IfThenElse(is_nan, hn::BitCast(wide_signed, quiet), hn::BitCast(wide_signed, rounded));
    hn::StoreU(hn::DemoteTo(narrow, result), narrow, reinterpret_cast<uint16_t*>(out) + i);
  }
  for (; i < count; ++i) {
    const uint16_t value = float_to_bf16(in[i]);
    std::memcpy(out + 2 * i, &value, 2);
  }
}

// The compiler makes vectors of these two loops.
void widen_f16(const std::byte* in, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t value = 0;
    std::memcpy(&value, in + 2 * i, 2);
    out[i] = f16_to_float(value);
  }
}

void narrow_f16(const float* in, size_t count, std::byte* out) {
  for (size_t i = 0; i < count; ++i) {
    const uint16_t value = float_to_f16(in[i]);
    std::memcpy(out + 2 * i, &value, 2);
  }
}

bool all_finite(const float* values, size_t count) {
  const Floats d;
  const hn::RebindToSigned<Floats> bits;
  const auto mask = hn::Set(bits, 0x7FFFFFFF);
  auto largest = hn::Zero(bits);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    largest = hn::Max(largest, hn::And(hn::BitCast(bits, hn::LoadU(d, values + i)), mask));
  }
  if (hn::GetLane(hn::MaxOfLanes(bits, largest)) >= 0x7F800000) return false;
  for (; i < count; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <array>

#include "mflux/base/error.h"

namespace mflux::kernels {
namespace {

HWY_EXPORT(widen_bf16);
HWY_EXPORT(narrow_bf16);
HWY_EXPORT(widen_f16);
HWY_EXPORT(narrow_f16);
HWY_EXPORT(all_finite);

void widen_f64(const std::byte* in, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) {
    double value = 0;
    std::memcpy(&value, in + 8 * i, 8);
    out[i] = static_cast<float>(value);
  }
}

template <float (*decode)(uint8_t)>
void widen_f8(std::span<const std::byte> in, std::span<float> out) {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values = {};
    for (size_t i = 0; i < values.size(); ++i) values[i] = decode(static_cast<uint8_t>(i));
    return values;
  }();
  for (size_t i = 0; i < in.size(); ++i) out[i] = table[std::to_integer<uint8_t>(in[i])];
}

}  // namespace

void to_float32(Dtype from, std::span<const std::byte> in, std::span<float> out) {
  const size_t count = in.size() / dtype_bytes(from);
  switch (from) {
    case Dtype::f64:
      return widen_f64(in.data(), count, out.data());
    case Dtype::f32:
      if (count != 0) std::memcpy(out.data(), in.data(), in.size());
      return;
    case Dtype::f16:
      return HWY_DYNAMIC_DISPATCH(widen_f16)(in.data(), count, out.data());
    case Dtype::bf16:
      return HWY_DYNAMIC_DISPATCH(widen_bf16)(in.data(), count, out.data());
    case Dtype::f8_e4m3:
      return widen_f8<e4m3_to_float>(in, out);
    case Dtype::f8_e5m2:
      return widen_f8<e5m2_to_float>(in, out);
    case Dtype::boolean:
    case Dtype::u8:
    case Dtype::i8:
    case Dtype::u16:
    case Dtype::i16:
    case Dtype::u32:
    case Dtype::i32:
    case Dtype::u64:
    case Dtype::i64:
      break;
  }
  fail("cannot read {} as floating point", dtype_name(from));
}

void from_float32(std::span<const float> in, Dtype to, std::span<std::byte> out) {
  if (to == Dtype::f32) {
    if (!in.empty()) std::memcpy(out.data(), in.data(), in.size_bytes());
  } else if (to == Dtype::bf16) {
    HWY_DYNAMIC_DISPATCH(narrow_bf16)(in.data(), in.size(), out.data());
  } else if (to == Dtype::f16) {
    HWY_DYNAMIC_DISPATCH(narrow_f16)(in.data(), in.size(), out.data());
  } else {
    fail("cannot store floating point as {}", dtype_name(to));
  }
}

bool all_finite(std::span<const float> values) {
  return HWY_DYNAMIC_DISPATCH(all_finite)(values.data(), values.size());
}

void transpose(
    std::span<const float> in, uint64_t channels, uint64_t positions, std::span<float> out) {
  for (uint64_t channel = 0; channel < channels; ++channel) {
    for (uint64_t position = 0; position < positions; ++position) {
      out[position * channels + channel] = in[channel * positions + position];
    }
  }
}

}  // namespace mflux::kernels
#endif
