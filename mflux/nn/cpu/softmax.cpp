// SPDX-License-Identifier: MIT
// Scores come 256 at a time. If a piece holds a larger score than all before it, what was summed up
// and weighted so far is multiplied by e^(old - new); so no exponential overflows, and earlier
// scores are not needed again.
#include "mflux/nn/cpu/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/nn/cpu/softmax.cpp"
#include <algorithm>
#include <cmath>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/nn/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::nn::cpu::HWY_NAMESPACE {

// Adds the mask to the scores, and returns the largest.
HWY_INLINE float add_mask(float* scores, const float* mask, size_t count) {
  const Floats d;
  const float lowest = -std::numeric_limits<float>::infinity();
  FloatVector high = hn::Set(d, lowest);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    FloatVector score = hn::LoadU(d, scores + i);
    if (mask != nullptr) {
      score = hn::Add(score, hn::LoadU(d, mask + i));
      hn::StoreU(score, d, scores + i);
    }
    high = hn::Max(high, score);
  }
  float largest = hn::GetLane(hn::MaxOfLanes(d, high));
  for (; i < count; ++i) {
    if (mask != nullptr) scores[i] += mask[i];
    largest = std::max(largest, scores[i]);
  }
  return largest;
}

// Replaces each score by e^(score - largest), and returns their sum.
HWY_INLINE float exponentials(float* scores, size_t count, float largest) {
  const Floats d;
  const FloatVector top = hn::Set(d, largest);
  FloatVector sum = hn::Zero(d);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const FloatVector value = exp(hn::Sub(hn::LoadU(d, scores + i), top));
    hn::StoreU(value, d, scores + i);
    sum = hn::Add(sum, value);
  }
  if (i < count) {
    HWY_ALIGN float last[hn::MaxLanes(Floats())];
    std::fill_n(last, hn::Lanes(d), -std::numeric_limits<float>::infinity());
    std::copy_n(scores + i, count - i, last);
    const FloatVector value = exp(hn::Sub(hn::Load(d, last), top));
    hn::Store(value, d, last);
    std::copy_n(last, count - i, scores + i);
    sum = hn::Add(sum, value);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void scale(float* values, size_t count, float factor) {
  const Floats d;
  const FloatVector factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    hn::StoreU(hn::Mul(hn::LoadU(d, values + i), factors), d, values + i);
  }
  for (; i < count; ++i) values[i] *= factor;
}

void softmax_piece(
    float* scores,
    const float* mask,
    size_t count,
    SoftmaxRow& row,
    float* weighted,
    size_t width) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::max(row.largest, add_mask(scores, mask, count));
  if (largest == -infinity) {  // nothing but what the mask excludes, so far
    std::fill_n(scores, count, 0.0F);
    return;
  }
  if (row.largest != largest && row.largest != -infinity) {
    const float factor = std::exp(row.largest - largest);
    row.sum *= factor;
    scale(weighted, width, factor);
  }
  row.sum += exponentials(scores, count, largest);
  row.largest = largest;
}

}  // namespace mflux::nn::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::nn::cpu {

HWY_EXPORT(softmax_piece);
HWY_EXPORT(scale);

void softmax_piece(
    float* scores,
    const float* mask,
    size_t count,
    SoftmaxRow& row,
    float* weighted,
    size_t width) {
  HWY_DYNAMIC_DISPATCH(softmax_piece)(scores, mask, count, row, weighted, width);
}

void scale(float* values, size_t count, float factor) {
  HWY_DYNAMIC_DISPATCH(scale)(values, count, factor);
}

}  // namespace mflux::nn::cpu
#endif
