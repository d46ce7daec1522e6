// SPDX-License-Identifier: MIT
// Sums over a row in vectors, four at a time; what follows the sums are plain loops that the
// compiler makes vectors of, once for each target.
#include "mflux/nn/cpu/norm_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/norm_rows.cpp"
#include <cmath>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/nn/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

// Sum of (x - center)^power for power 1 or 2. Four sums at a time hide the latency of adding, and
// lose less.
template <int power>
HWY_INLINE float sum_of(const float* x, size_t count, float center) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const FloatVector centers = hn::Set(d, center);
  const auto added = [&](FloatVector sum, const float* from) {
    const FloatVector value = hn::LoadU(d, from);
    if constexpr (power == 1) return hn::Add(sum, value);
    const FloatVector distance = hn::Sub(value, centers);
    return hn::MulAdd(distance, distance, sum);
  };
  FloatVector sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    for (size_t j = 0; j < 4; ++j) sums[j] = added(sums[j], x + i + j * lanes);
  }
  for (; i + lanes <= count; i += lanes) sums[0] = added(sums[0], x + i);
  const FloatVector sum = hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += power == 1 ? x[i] : (x[i] - center) * (x[i] - center);
  return total;
}

void layer_norm(const LayerNormRow& norm, const float* x, size_t count, float* out) {
  const auto size = static_cast<float>(count);
  const float mean = sum_of<1>(x, count, 0) / size;
  const float variance = sum_of<2>(x, count, mean) / size;
  const float factor = 1 / std::sqrt(variance + norm.eps);
  // Without a weight and a bias these loops are the same with numbers in their place.
  if (norm.weight == nullptr) {
    for (size_t i = 0; i < count; ++i) out[i] = (x[i] - mean) * factor;
  } else {
    for (size_t i = 0; i < count; ++i) {
      out[i] = (x[i] - mean) * factor * (norm.weight[i] + norm.plus);
    }
  }
  if (norm.bias == nullptr) return;
  for (size_t i = 0; i < count; ++i) out[i] += norm.bias[i];
}

void rms_norm(const float* weight, float eps, const float* x, size_t count, float* out) {
  const float mean = sum_of<2>(x, count, 0) / static_cast<float>(count);
  const float factor = 1 / std::sqrt(mean + eps);
  for (size_t i = 0; i < count; ++i) out[i] = x[i] * factor * weight[i];
}

void add_channels(const float* x, size_t rows, size_t channels, float* sums) {
  for (size_t row = 0; row < rows; ++row, x += channels) {
    for (size_t i = 0; i < channels; ++i) sums[i] += x[i];
  }
}

void add_squares(
    const float* x, size_t rows, size_t channels, const float* center, float* squares) {
  for (size_t row = 0; row < rows; ++row, x += channels) {
    for (size_t i = 0; i < channels; ++i) {
      const float distance = x[i] - center[i];
      squares[i] += distance * distance;
    }
  }
}

void normalize_channels(
    const float* x,
    size_t channels,
    const float* center,
    const float* factor,
    const float* bias,
    float* out) {
  for (size_t i = 0; i < channels; ++i) out[i] = (x[i] - center[i]) * factor[i] + bias[i];
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {

HWY_EXPORT(layer_norm);
HWY_EXPORT(rms_norm);
HWY_EXPORT(add_channels);
HWY_EXPORT(add_squares);
HWY_EXPORT(normalize_channels);

void layer_norm(const LayerNormRow& norm, const float* x, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(layer_norm)(norm, x, count, out);
}

void rms_norm(const float* weight, float eps, const float* x, size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(rms_norm)(weight, eps, x, count, out);
}

void add_channels(const float* x, size_t rows, size_t channels, float* sums) {
  HWY_DYNAMIC_DISPATCH(add_channels)(x, rows, channels, sums);
}

void add_squares(
    const float* x, size_t rows, size_t channels, const float* center, float* squares) {
  HWY_DYNAMIC_DISPATCH(add_squares)(x, rows, channels, center, squares);
}

void normalize_channels(
    const float* x,
    size_t channels,
    const float* center,
    const float* factor,
    const float* bias,
    float* out) {
  HWY_DYNAMIC_DISPATCH(normalize_channels)(x, channels, center, factor, bias, out);
}

}  // namespace mflux::nn::cpu
#endif
