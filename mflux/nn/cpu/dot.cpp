// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/dot.cpp"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/nn/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

// Four sums at a time hide the latency of adding.
HWY_INLINE float dot(const float* x, const float* y, size_t count) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    for (size_t j = 0; j < 4; ++j) {
      const size_t at = i + j * lanes;
      sums[j] = hn::MulAdd(hn::LoadU(d, x + at), hn::LoadU(d, y + at), sums[j]);
    }
  }
  for (; i + lanes <= count; i += lanes) {
    sums[0] = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sums[0]);
  }
  const FloatVector sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += x[i] * y[i];
  return total;
}

void multiply_few(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  for (size_t j = 0; j < size.n; ++j) {
    for (size_t i = 0; i < size.m; ++i) {
      c[i * c_stride + j] +=
          size.factor * dot(a.data + i * a.stride, b.data + j * b.stride, size.k);
    }
  }
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {

HWY_EXPORT(multiply_few);

void multiply_few(const Product& size, Matrix a, Matrix b, float* c, size_t c_stride) {
  HWY_DYNAMIC_DISPATCH(multiply_few)(size, a, b, c, c_stride);
}

}  // namespace mflux::nn::cpu
#endif
