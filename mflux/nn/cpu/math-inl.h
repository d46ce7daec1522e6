// SPDX-License-Identifier: MIT
// Functions on vectors of float32, to about two units in the last place. Included once per target,
// inside foreach_target. A NaN stays a NaN: a picture of them must be found, not hidden.
#if defined(MFLUX_NN_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MFLUX_NN_CPU_MATH_INL_H_
#undef MFLUX_NN_CPU_MATH_INL_H_
#else
#define MFLUX_NN_CPU_MATH_INL_H_
#endif

#include <limits>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<Floats>;

HWY_INLINE FloatVector constant(float value) {
  return hn::Set(Floats(), value);
}

// e^x; 0 below -87.3 and infinite above 88.3, where float32 begins and ends.
HWY_INLINE FloatVector exp(FloatVector x) {
  const Floats d;
  const hn::RebindToSigned<Floats> integers;
  const FloatVector n = hn::Round(hn::Mul(x, constant(1.44269504F)));
  // ln 2 in two parts, of which n times the first is exact.
  FloatVector r = hn::MulAdd(n, constant(-0.693359375F), x);
  r = hn::MulAdd(n, constant(2.12194440e-4F), r);
  // The Taylor series to r^7; |r| <= ln 2 / 2.
  FloatVector sum = constant(1.0F / 5040);
  sum = hn::MulAdd(sum, r, constant(1.0F / 720));
  sum = hn::MulAdd(sum, r, constant(1.0F / 120));
  sum = hn::MulAdd(sum, r, constant(1.0F / 24));
  sum = hn::MulAdd(sum, r, constant(1.0F / 6));
  sum = hn::MulAdd(sum, r, constant(0.5F));
  sum = hn::MulAdd(hn::Mul(r, r), sum, hn::Add(r, constant(1.0F)));
  const auto exponent = hn::Add(hn::ConvertTo(integers, n), hn::Set(integers, 127));
  FloatVector y = hn::Mul(sum, hn::BitCast(d, hn::ShiftLeft<23>(exponent)));
  y = hn::IfThenZeroElse(hn::Lt(x, constant(-87.3F)), y);
  const FloatVector infinity = constant(std::numeric_limits<float>::infinity());
  return hn::IfThenElse(hn::Gt(x, constant(88.3F)), infinity, y);
}

// 1 - erf(x) for x >= 0.
HWY_INLINE FloatVector erfc(FloatVector x) {
  // erfc(x) e^(x^2) is smooth in t = 1 / (1 + x / 2): a polynomial through the Chebyshev points of
  // 0 <= x <= 6.5, relative error below 1e-8 there.
  const FloatVector t = hn::Div(constant(1.0F), hn::MulAdd(x, constant(0.5F), constant(1.0F)));
  FloatVector sum = constant(0.020001681684767302F);
  sum = hn::MulAdd(sum, t, constant(-0.09471800707318176F));
  sum = hn::MulAdd(sum, t, constant(0.12248077238380765F));
  sum = hn::MulAdd(sum, t, constant(0.113213631670504F));
  sum = hn::MulAdd(sum, t, constant(-0.4228541700349053F));
  sum = hn::MulAdd(sum, t, constant(0.30172435663776376F));
  sum = hn::MulAdd(sum, t, constant(-0.06453749684910008F));
  sum = hn::MulAdd(sum, t, constant(0.22123411665686207F));
  sum = hn::MulAdd(sum, t, constant(0.2384114331952617F));
  sum = hn::MulAdd(sum, t, constant(0.28299021590421547F));
  sum = hn::MulAdd(sum, t, constant(0.28205346654451396F));
  return hn::Mul(hn::Mul(sum, t), exp(hn::Neg(hn::Mul(x, x))));
}

// 1 / (1 + e^-x)
HWY_INLINE FloatVector sigmoid(FloatVector x) {
  return hn::Div(constant(1.0F), hn::Add(constant(1.0F), exp(hn::Neg(x))));
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
