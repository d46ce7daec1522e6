// SPDX-License-Identifier: MIT
#include "mflux/kernels/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "tests/kernels/numbers.h"
#include "tests/kernels/targets.h"

namespace mflux::kernels::testing {
namespace {

// The definition in the header, word for word.
double sum_of_products(
    const std::vector<float>& a, const std::vector<float>& b, uint64_t rows, uint64_t columns) {
  double total = 0;
  for (uint64_t row = 0; row < rows; ++row) {
    std::array<float, 16> lanes = {};
    for (uint64_t j = 0; j < columns; ++j) {
      const uint64_t i = row * columns + j;
      lanes.at(j % 16) = std::fma(a[i], b[i], lanes.at(j % 16));
    }
    double sum = 0;
    for (const float lane : lanes) sum += static_cast<double>(lane);
    total += sum;
  }
  return total;
}

struct Case {
  uint64_t rows;
  uint64_t columns;
  std::vector<float> a;
  std::vector<float> b;
};

std::vector<Case> cases() {
  std::vector<Case> list;
  for (const uint64_t rows : {1U, 2U, 5U}) {
    for (uint64_t columns = 1; columns <= 40; ++columns) {
      const auto seed = static_cast<uint32_t>(100 * rows + columns);
      list.push_back(
          {rows,
           columns,
           wide_numbers(rows * columns, seed),
           wide_numbers(rows * columns, seed + 5000)});
    }
  }
  list.push_back({3, 1000, wide_numbers(3000, 1), wide_numbers(3000, 2)});
  return list;
}

TEST_CASE("projections are summed in 16 lanes in the order of the definition") {
  for (const Case& item : cases()) {
    CAPTURE(item.rows);
    CAPTURE(item.columns);
    const double cross = sum_of_products(item.a, item.b, item.rows, item.columns);
    const double norm = sum_of_products(item.b, item.b, item.rows, item.columns);
    for_each_target([&] {
      const Projection sums = project(item.a, item.b, item.rows, item.columns);
      CHECK(sums.cross == cross);
      CHECK(sums.norm == norm);
    });
  }
}

TEST_CASE("storage errors are summed in 16 lanes in the order of the definition") {
  for (const Case& item : cases()) {
    CAPTURE(item.rows);
    CAPTURE(item.columns);
    std::vector<float> difference(item.a.size());
    double largest = 0;
    for (size_t i = 0; i < difference.size(); ++i) {
      difference[i] = item.b[i] - item.a[i];
      largest = std::max(largest, std::fabs(static_cast<double>(difference[i])));
    }
    const double error_sq = sum_of_products(difference, difference, item.rows, item.columns);
    const double exact_sq = sum_of_products(item.a, item.a, item.rows, item.columns);
    for_each_target([&] {
      std::vector<float> error(item.a.size());
      const ErrorSums sums = storage_error(item.a, item.b, item.rows, item.columns, error);
      CHECK(bits_of(error) == bits_of(difference));
      CHECK(sums.error_sq == error_sq);
      CHECK(sums.exact_sq == exact_sq);
      CHECK(sums.max_error == largest);
    });
  }
}

TEST_CASE("the largest error is found wherever it is") {
  for_each_target([&] {
    for (size_t i = 0; i < 35; ++i) {
      const std::vector<float> exact(35);
      std::vector<float> stored(35, 0.5F);
      std::vector<float> error(35);
      stored[i] = -2;
      CHECK(storage_error(exact, stored, 1, 35, error).max_error == 2);
    }
  });
}

}  // namespace
}  // namespace mflux::kernels::testing
