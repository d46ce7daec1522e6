// SPDX-License-Identifier: MIT
// Sums are defined as 16 partial sums over a row, element i in lane i % 16, each in float32 with
// fused multiplications, added up in float64 at the row's end. Vectors of any length keep to that,
// so every target gives the same bits.
#include "mflux/kernels/statistics.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mflux/kernels/statistics.cpp"
#include <algorithm>
#include <cmath>

#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include "mflux/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mflux::kernels::HWY_NAMESPACE {

constexpr size_t kLanes = 16;  // of the definition, whatever the vector's length

// The 16 partial sums of one row.
class RowSum {
 public:
  RowSum() {
    for (auto& sum : sums_) sum = hn::Zero(Floats());
  }

  // Vector `i` of a step of 16 elements.
  HWY_INLINE void add(size_t i, FloatVector a, FloatVector b) {
    sums_[i] = fused_multiply_add(Floats(), a, b, sums_[i]);
  }

  // The rest of a row: elements in lanes 0, 1, ...
  void add_tail(const float* a, const float* b, size_t count) {
    store();
    for (size_t i = 0; i < count; ++i) lanes_[i] = std::fma(a[i], b[i], lanes_[i]);
    stored_ = true;
  }

  double total() {
    if (!stored_) store();
    double sum = 0;
    for (const float lane : lanes_) sum += static_cast<double>(lane);
    return sum;
  }

 private:
  void store() {
    const Floats d;
    for (size_t i = 0; i * hn::Lanes(d) < kLanes; ++i)
      hn::Store(sums_[i], d, lanes_ + i * hn::Lanes(d));
  }

  FloatVector sums_[kLanes / hn::MaxLanes(Floats())];
  HWY_ALIGN float lanes_[kLanes] = {};
  bool stored_ = false;
};

Projection project(const float* error, const float* delta, size_t rows, size_t columns) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = columns / kLanes * kLanes;
  Projection result;
  for (size_t row = 0; row < rows; ++row, error += columns, delta += columns) {
    RowSum cross;
    RowSum norm;
    for (size_t j = 0; j < whole; j += kLanes) {
      for (size_t i = 0; i * lanes < kLanes; ++i) {
        const FloatVector x = hn::LoadU(d, delta + j + i * lanes);
        cross.add(i, hn::LoadU(d, error + j + i * lanes), x);
        norm.add(i, x, x);
      }
    }
    if (whole != columns) {
      cross.add_tail(error + whole, delta + whole, columns - whole);
      norm.add_tail(delta + whole, delta + whole, columns - whole);
    }
    result.cross += cross.total();
    result.norm += norm.total();
  }
  return result;
}

ErrorSums storage_error(
    const float* exact, const float* stored, size_t rows, size_t columns, float* error) {
  const Floats d;
  const size_t lanes = hn::Lanes(d);
  const size_t whole = columns / kLanes * kLanes;
  ErrorSums sums;
  FloatVector largest = hn::Zero(d);
  float largest_in_tails = 0;
  for (size_t row = 0; row < rows; ++row, exact += columns, stored += columns, error += columns) {
    RowSum error_sq;
    RowSum exact_sq;
    for (size_t j = 0; j < whole; j += kLanes) {
      for (size_t i = 0; i * lanes < kLanes; ++i) {
        const size_t at = j + i * lanes;
        const FloatVector x = hn::LoadU(d, exact + at);
        const FloatVector e = hn::Sub(hn::LoadU(d, stored + at), x);
        hn::StoreU(e, d, error + at);
        error_sq.add(i, e, e);
        exact_sq.add(i, x, x);
        largest = hn::Max(largest, hn::Abs(e));
      }
    }
    for (size_t j = whole; j < columns; ++j) {
      error[j] = stored[j] - exact[j];
      largest_in_tails = std::max(largest_in_tails, std::fabs(error[j]));
    }
    if (whole != columns) {
      error_sq.add_tail(error + whole, error + whole, columns - whole);
      exact_sq.add_tail(exact + whole, exact + whole, columns - whole);
    }
    sums.error_sq += error_sq.total();
    sums.exact_sq += exact_sq.total();
  }
  const float in_vectors = hn::GetLane(hn::MaxOfLanes(d, largest));
  sums.max_error = static_cast<double>(std::max(in_vectors, largest_in_tails));
  return sums;
}

}  // namespace mflux::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mflux::kernels {
namespace {

HWY_EXPORT(project);
HWY_EXPORT(storage_error);

}  // namespace

Projection project(
    std::span<const float> error, std::span<const float> delta, uint64_t rows, uint64_t columns) {
  return HWY_DYNAMIC_DISPATCH(project)(error.data(), delta.data(), rows, columns);
}

ErrorSums storage_error(
    std::span<const float> exact,
    std::span<const float> stored,
    uint64_t rows,
    uint64_t columns,
    std::span<float> error) {
  return HWY_DYNAMIC_DISPATCH(storage_error)(
      exact.data(), stored.data(), rows, columns, error.data());
}

}  // namespace mflux::kernels
#endif
