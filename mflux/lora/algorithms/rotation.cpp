// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/rotation.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace mflux::lora {
namespace {

std::vector<double> identity(uint64_t size, double value = 1) {
  std::vector<double> result(size * size);
  for (uint64_t i = 0; i < size; ++i) result[i * size + i] = value;
  return result;
}

std::vector<double> product(std::span<const double> a, std::span<const double> b, uint64_t size) {
  std::vector<double> result(size * size);
  for (uint64_t i = 0; i < size; ++i) {
    for (uint64_t k = 0; k < size; ++k) {
      const double factor = a[i * size + k];
      for (uint64_t j = 0; j < size; ++j) result[i * size + j] += factor * b[k * size + j];
    }
  }
  return result;
}

// Solves matrix * x = right in place of `right`, by elimination with the largest pivots. I - Q is
// never singular: its symmetric part is I.
void solve(std::span<double> matrix, std::span<double> right, uint64_t size) {
  for (uint64_t k = 0; k < size; ++k) {
    uint64_t pivot = k;
    for (uint64_t i = k + 1; i < size; ++i) {
      if (std::abs(matrix[i * size + k]) > std::abs(matrix[pivot * size + k])) pivot = i;
    }
    for (uint64_t j = 0; pivot != k && j < size; ++j) {
      std::swap(matrix[k * size + j], matrix[pivot * size + j]);
      std::swap(right[k * size + j], right[pivot * size + j]);
    }
    const double inverse = 1 / matrix[k * size + k];
    for (uint64_t j = 0; j < size; ++j) {
      matrix[k * size + j] *= inverse;
      right[k * size + j] *= inverse;
    }
    for (uint64_t i = 0; i < size; ++i) {
      const double factor = matrix[i * size + k];
      if (i == k || factor == 0) continue;
      for (uint64_t j = 0; j < size; ++j) {
        matrix[i * size + j] -= factor * matrix[k * size + j];
        right[i * size + j] -= factor * right[k * size + j];
      }
    }
  }
}

}  // namespace

void cayley(std::span<const double> q, uint64_t size, std::span<double> out) {
  // (I + Q) and (I - Q)^-1 commute, so one system gives it.
  std::vector<double> left = identity(size);
  std::vector<double> right = left;
  for (uint64_t i = 0; i < size * size; ++i) {
    left[i] -= q[i];
    right[i] += q[i];
  }
  solve(left, right, size);
  std::ranges::copy(right, out.begin());
}

void neumann(std::span<const double> q, uint64_t size, uint64_t terms, std::span<double> out) {
  std::vector<double> sum = identity(size);
  std::vector<double> power(q.begin(), q.end());
  const auto add = [&](double factor) {
    for (uint64_t i = 0; i < size * size; ++i) sum[i] += factor * power[i];
  };
  if (terms > 1) add(2);
  if (terms > 2) {
    const uint64_t last = std::max<uint64_t>(terms, 4) - 1;
    for (uint64_t exponent = 2; exponent <= last; ++exponent) {
      power = product(power, q, size);
      add(exponent == last ? 1 : 2);
    }
  }
  std::ranges::copy(sum, out.begin());
}

void transpose(std::span<double> matrix, uint64_t size) {
  for (uint64_t i = 0; i < size; ++i) {
    for (uint64_t j = 0; j < i; ++j) std::swap(matrix[i * size + j], matrix[j * size + i]);
  }
}

}  // namespace mflux::lora
