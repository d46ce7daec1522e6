// SPDX-License-Identifier: MIT
// What the SIMD kernels share. Included once per target, inside foreach_target.
#if defined(MFLUX_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MFLUX_KERNELS_SIMD_INL_H_
#undef MFLUX_KERNELS_SIMD_INL_H_
#else
#define MFLUX_KERNELS_SIMD_INL_H_
#endif

#include <cmath>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// 16 lanes at most: the sums of the receipt are defined in 16 lanes, and groups of weights start
// at 16.
using Floats = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<Floats>;

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || \
    HWY_ARCH_ARM_A64
HWY_INLINE FloatVector fused_multiply_add(Floats, FloatVector a, FloatVector b, FloatVector c) {
  return hn::MulAdd(a, b, c);
}
#else
// These targets round the product before the sum, which would change the last bit.
HWY_INLINE FloatVector fused_multiply_add(Floats d, FloatVector a, FloatVector b, FloatVector c) {
  HWY_ALIGN float lanes_a[16];
  HWY_ALIGN float lanes_b[16];
  HWY_ALIGN float lanes_c[16];
  hn::Store(a, d, lanes_a);
  hn::Store(b, d, lanes_b);
  hn::Store(c, d, lanes_c);
  for (size_t i = 0; i < hn::Lanes(d); ++i)
    lanes_c[i] = std::fma(lanes_a[i], lanes_b[i], lanes_c[i]);
  return hn::Load(d, lanes_c);
}
#endif

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
