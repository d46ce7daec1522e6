// SPDX-License-Identifier: MIT
// Holds an operation of the CPU against its definition in float64, for every SIMD target.
#pragma once

#include <doctest/doctest.h>
#include <mlx/mlx.h>
#include <tbb/global_control.h>

#include "mflux/nn/mlx.h"
#include "tests/kernels/targets.h"

namespace mflux::nn::testing {

// For TEST_CASE_FIXTURE: the same random numbers whenever a test runs.
struct Seeded {
  Seeded() { mx::random::seed(1); }
};

inline mx::array wide(const mx::array& x) {
  return mx::astype(x, mx::float64, mx::Device::cpu);
}

// The largest difference, as a part of the largest value if that is not 0. A NaN makes it NaN.
inline double error_of(const mx::array& actual, const mx::array& expected) {
  const mx::array difference = mx::abs(mx::subtract(wide(actual), expected));
  const double largest = mx::max(mx::abs(expected)).item<double>();
  return mx::max(difference).item<double>() / (largest == 0 ? 1 : largest);
}

// make: () -> array. It is made and evaluated anew for each target; with one thread and with
// several the bytes are the same.
template <typename Make>
void check_operation(const Make& make, const mx::array& expected, double tolerance) {
  kernels::testing::for_each_target([&] {
    const mx::array actual = make();
    REQUIRE(actual.shape() == expected.shape());
    REQUIRE(actual.dtype() == mx::float32);
    CHECK(error_of(actual, expected) <= tolerance);
    const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
    CHECK(mx::array_equal(make(), actual).template item<bool>());
  });
}

}  // namespace mflux::nn::testing
