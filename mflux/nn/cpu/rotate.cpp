// SPDX-License-Identifier: MIT
// A pass over x, rows in parallel: each pair of channels is multiplied as a complex number by its
// token's cos + i sin. Cosines and sines are broadcast over heads by a stride of zero.
#include "mflux/nn/cpu/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/rotate.cpp"
#include <span>
#include <utility>
#include <vector>

#include <hwy/foreach_target.h>  // IWYU pragma: keep
#include <mlx/ops.h>

#include "mflux/nn/cpu/math-inl.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/rows.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

// cos, sin: `pairs` values; x, out: twice as many.
void turn_pairs(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
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

void turn_halves(const float* x, const float* cos, const float* sin, size_t pairs, float* out) {
  for (size_t i = 0; i < pairs; ++i) {
    out[i] = x[i] * cos[i] - x[pairs + i] * sin[i];
    out[pairs + i] = x[pairs + i] * cos[i] + x[i] * sin[i];
  }
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {
namespace {

HWY_EXPORT(turn_pairs);
HWY_EXPORT(turn_halves);

using RotateRow = void (*)(const float*, const float*, const float*, size_t, float*);

mx::array rotate(RotateRow row, const mx::array& x, const mx::array& cos, const mx::array& sin) {
  mx::Shape pairs = x.shape();
  pairs.back() /= 2;
  std::vector<mx::array> inputs = {mx::astype(x, mx::float32)};
  for (const mx::array& part : {cos, sin}) {
    inputs.push_back(mx::broadcast_to(mx::astype(part, mx::float32), pairs));
  }
  // Tokens before heads, as the linear layers left them and attention reads them.
  const bool has_heads = x.ndim() > 2;
  if (has_heads) {
    for (mx::array& input : inputs) input = mx::swapaxes(input, -2, -3);
  }
  const auto compute = [row](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const Rows cosines(arrays[1]);
    const Rows sines(arrays[2]);
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        row(rows[i], cosines[i], sines[i], width / 2, out.data() + i * width);
      }
    });
  };
  const mx::Shape shape = inputs[0].shape();
  const mx::array y = operation("Rotate", shape, std::move(inputs), compute);
  return has_heads ? mx::swapaxes(y, -2, -3) : y;
}

}  // namespace

mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  return rotate([](auto... row) { HWY_DYNAMIC_DISPATCH(turn_pairs)(row...); }, x, cos, sin);
}

mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  return rotate([](auto... row) { HWY_DYNAMIC_DISPATCH(turn_halves)(row...); }, x, cos, sin);
}

}  // namespace mflux::nn::cpu
#endif
