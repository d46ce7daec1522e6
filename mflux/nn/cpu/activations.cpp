// SPDX-License-Identifier: MIT
// One pass over the values, rows in parallel. The functions are made of exp (math-inl.h), to about
// two units in the last place.
#include "mflux/nn/cpu/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/activations.cpp"
#include <algorithm>
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

void add_gated(const float* x, const float* gate, const float* y, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = x[i] + gate[i] * y[i];
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {
namespace {

HWY_EXPORT(activate);
HWY_EXPORT(add_gated);

}  // namespace

mx::array activation(Activation kind, const mx::array& x) {
  const auto compute = [kind](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        HWY_DYNAMIC_DISPATCH(activate)(kind, rows[i], width, out.data() + i * width);
      }
    });
  };
  return operation("Activation", x.shape(), {mx::astype(x, mx::float32)}, compute);
}

mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y) {
  const auto compute = [](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows a(arrays[0]);
    const Rows gates(arrays[1]);
    const Rows b(arrays[2]);
    const size_t width = a.width();
    each_rows(a.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        HWY_DYNAMIC_DISPATCH(add_gated)(a[i], gates[i], b[i], width, out.data() + i * width);
      }
    });
  };
  std::vector<mx::array> inputs;
  for (const mx::array& part : {x, gate, y}) {
    inputs.push_back(mx::broadcast_to(mx::astype(part, mx::float32), x.shape()));
  }
  return operation("GatedAdd", x.shape(), std::move(inputs), compute);
}

mx::array join_channels(const std::vector<mx::array>& parts) {
  const auto compute = [](const std::vector<mx::array>& arrays, std::span<float> out) {
    std::vector<Rows> sources;
    size_t width = 0;
    for (const mx::array& array : arrays) width += sources.emplace_back(array).width();
    each_rows(out.size() / width, width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        float* to = out.data() + i * width;
        for (const Rows& source : sources) to = std::copy_n(source[i], source.width(), to);
      }
    });
  };
  mx::Shape shape = parts.front().shape();
  shape.back() = 0;
  std::vector<mx::array> inputs;
  for (const mx::array& part : parts) {
    shape.back() += part.shape(-1);
    inputs.push_back(mx::astype(part, mx::float32));
  }
  return operation("JoinChannels", shape, std::move(inputs), compute);
}

}  // namespace mflux::nn::cpu
#endif
