// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/rotate_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/rotate_rows.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/nn/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

void rotate_pairs(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
  const Floats d;
  size_t i = 0;
  for (; i + hn::Lanes(d) <= pairs; i += hn::Lanes(d)) {
    FloatVector first;
    FloatVector second;
    hn::LoadInterleaved2(d, x + 2 * i, first, second);
    const FloatVector c = hn::LoadU(d, cos + i);
    const FloatVector s = hn::LoadU(d, sin + i);
    const FloatVector a = hn::Sub(hn::Mul(first, c), hn::Mul(second, s));
    const FloatVector b = hn::Add(hn::Mul(second, c), hn::Mul(first, s));
    hn::StoreInterleaved2(a, b, d, out + 2 * i);
  }
  for (; i < pairs; ++i) {
    out[2 * i] = x[2 * i] * cos[i] - x[2 * i + 1] * sin[i];
    out[2 * i + 1] = x[2 * i + 1] * cos[i] + x[2 * i] * sin[i];
  }
}

void rotate_halves(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
  for (size_t i = 0; i < pairs; ++i) {
    out[i] = x[i] * cos[i] - x[pairs + i] * sin[i];
    out[pairs + i] = x[pairs + i] * cos[i] + x[i] * sin[i];
  }
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {

HWY_EXPORT(rotate_pairs);
HWY_EXPORT(rotate_halves);

void rotate_pairs(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
  HWY_DYNAMIC_DISPATCH(rotate_pairs)(x, cos, sin, pairs, out);
}

void rotate_halves(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
  HWY_DYNAMIC_DISPATCH(rotate_halves)(x, cos, sin, pairs, out);
}

}  // namespace mflux::nn::cpu
#endif
