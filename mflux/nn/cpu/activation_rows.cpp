// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/activation_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/activation_rows.cpp"
#include <algorithm>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/nn/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

// Exact in both tails: there 1 + erf(x) of float32 would cancel.
HWY_INLINE FloatVector gelu(FloatVector x) {
  const FloatVector half =
      hn::Mul(constant(0.5F), erfc(hn::Mul(hn::Abs(x), constant(0.70710678F))));
  const auto negative = hn::Lt(x, hn::Zero(Floats()));
  return hn::Mul(x, hn::IfThenElse(negative, half, hn::Sub(constant(1.0F), half)));
}

// (1 + tanh(u)) / 2 is the sigmoid of 2 u.
HWY_INLINE FloatVector gelu_tanh(FloatVector x) {
  const FloatVector cubic = hn::Mul(hn::Mul(x, x), hn::Mul(x, constant(0.044715F)));
  const FloatVector twice = hn::Mul(constant(2 * 0.7978845608F), hn::Add(x, cubic));
  return hn::Mul(x, sigmoid(twice));
}

HWY_INLINE FloatVector quick_gelu(FloatVector x) {
  return hn::Mul(x, sigmoid(hn::Mul(constant(1.702F), x)));
}

HWY_INLINE FloatVector silu(FloatVector x) {
  return hn::Mul(x, sigmoid(x));
}

template <FloatVector (*function)(FloatVector)>
void each(const float* x, size_t count, float* out) {
  const Floats d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    hn::StoreU(function(hn::LoadU(d, x + i)), d, out + i);
  }
  if (i == count) return;
  // By the same instructions, so that a value does not depend on its place.
  HWY_ALIGN float last[hn::MaxLanes(Floats())] = {};
  std::copy_n(x + i, count - i, last);
  hn::Store(function(hn::Load(d, last)), d, last);
  std::copy_n(last, count - i, out + i);
}

void activate(Activation kind, const float* x, size_t count, float* out) {
  switch (kind) {
    case Activation::gelu:
      return each<gelu>(x, count, out);
    case Activation::gelu_tanh:
      return each<gelu_tanh>(x, count, out);
    case Activation::quick_gelu:
      return each<quick_gelu>(x, count, out);
    case Activation::silu:
      return each<silu>(x, count, out);
  }
}

void gated_add(const float* x, const float* gate, const float* y, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = x[i] + gate[i] * y[i];
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {

HWY_EXPORT(activate);
HWY_EXPORT(gated_add);

void activate(Activation kind, const float* x, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(activate)(kind, x, count, out);
}

void gated_add(const float* x, const float* gate, const float* y, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(gated_add)(x, gate, y, count, out);
}

}  // namespace mflux::nn::cpu
#endif
