// SPDX-License-Identifier: MIT
// The sums behind the receipt, in a fixed order, so that every CPU and thread count gives the same
// bits.
//
// Element j of a row goes to lane j % 16 (float32, fused multiply-add, ascending j); at the end of
// the row the 16 lanes are added in ascending order in float64; rows are added in ascending order
// in float64.
#pragma once

#include <cstdint>
#include <span>

namespace mflux::kernels {

struct Projection {
  double cross = 0;  // sum of error * delta
  double norm = 0;   // sum of delta^2
};

// Both sums over a [rows, columns] matrix.
Projection project(
    std::span<const float> error, std::span<const float> delta, uint64_t rows, uint64_t columns);

struct ErrorSums {
  double error_sq = 0;   // sum of (stored - exact)^2
  double exact_sq = 0;   // sum of exact^2
  double max_error = 0;  // largest |stored - exact|
};

// What storing did to `exact`; error[i] = stored[i] - exact[i] is written for further dot products.
ErrorSums storage_error(
    std::span<const float> exact,
    std::span<const float> stored,
    uint64_t rows,
    uint64_t columns,
    std::span<float> error);

}  // namespace mflux::kernels
