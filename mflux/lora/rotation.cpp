// SPDX-License-Identifier: MIT
#include "mflux/lora/rotation.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mflux::lora {
namespace {

constexpr double kKohyaEpsilon = 1e-8;

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

std::vector<double> skew(std::span<const float> block, uint64_t size) {
  std::vector<double> q(size * size);
  for (uint64_t i = 0; i < size; ++i) {
    for (uint64_t j = 0; j < size; ++j) {
      q[i * size + j] =
          static_cast<double>(block[i * size + j]) - static_cast<double>(block[j * size + i]);
    }
  }
  return q;
}

void transpose(std::span<double> matrix, uint64_t size) {
  for (uint64_t i = 0; i < size; ++i) {
    for (uint64_t j = 0; j < i; ++j) std::swap(matrix[i * size + j], matrix[j * size + i]);
  }
}

// By how much all Q together are too long, as the trainer has it.
double shrink_factor(const OutputRotation& update, std::span<const float> blocks) {
  if (!update.limited) return 1;
  const uint64_t area = update.size * update.size;
  double square = 0;
  for (uint64_t begin = 0; begin < blocks.size(); begin += area) {
    for (const double value : skew(blocks.subspan(begin, area), update.size)) {
      square += value * value;
    }
  }
  const double norm = std::sqrt(square);
  return (std::min(norm, update.limit) + kKohyaEpsilon) / (norm + kKohyaEpsilon);
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

std::vector<double> input_rotations(const InputRotation& update) {
  const uint64_t size = update.size;
  const std::vector<float> triangles = read_factor(update.triangles);
  std::vector<double> rotations(update.triangles.rows * size * size);
  std::vector<double> q(size * size);
  for (uint64_t block = 0; block < update.triangles.rows; ++block) {
    uint64_t at = block * update.triangles.columns;
    for (uint64_t i = 0; i < size; ++i) {
      for (uint64_t j = i + 1; j < size; ++j) {
        const double value = static_cast<double>(triangles[at++]) / update.divisor;
        q[i * size + j] = value;
        q[j * size + i] = -value;
      }
    }
    const std::span<double> out = std::span(rotations).subspan(block * size * size, size * size);
    if (update.terms == 0) {
      // (I - Q) (I + Q)^-1 is Cayley's map of -Q.
      for (double& value : q) value = -value;
      cayley(q, size, out);
    } else {
      neumann(q, size, update.terms, out);
    }
    transpose(out, size);
  }
  return rotations;
}

std::vector<double> output_rotations(const OutputRotation& update, const Parallel& parallel) {
  const uint64_t size = update.size;
  const uint64_t area = size * size;
  const std::vector<float> blocks = read_factor(update.blocks);
  const double shrink = shrink_factor(update, blocks);
  std::vector<double> rotations(blocks.size());
  parallel(update.stages * update.count, [&](uint64_t block) {
    std::vector<double> q = skew(std::span(blocks).subspan(block * area, area), size);
    for (double& value : q) value *= shrink;
    const std::span<double> out = std::span(rotations).subspan(block * area, area);
    cayley(q, size, out);
    for (double& value : out) value *= update.scale;
    for (uint64_t i = 0; i < size; ++i) out[i * size + i] += 1 - update.scale;
    if (!update.butterfly) transpose(out, size);
  });
  return rotations;
}

}  // namespace mflux::lora
