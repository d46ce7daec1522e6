// SPDX-License-Identifier: MIT
// Each direction is one product with a matrix of the filter's weights, [to, from], mostly zeros:
// small against what a network does with the picture. Weights are multiples of 2^-22, as Pillow has
// them, so that levels come out the same.
#include "mflux/pipelines/resample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include <mlx/mlx.h>

namespace mflux::pipelines {
namespace {

double sinc(double x) {
  return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x);
}

double lanczos(double x) {
  return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// [to, from]: what each old position gives to each new one, in the fixed point Pillow uses.
mx::array shares(int from, int to, Filter filter) {
  constexpr double kOne = 1 << 22;
  const double scale = static_cast<double>(from) / to;
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Filter::lanczos ? 3.0 : 2.0) * stretch;
  std::vector<float> matrix(static_cast<size_t>(from) * static_cast<size_t>(to), 0.0F);
  for (int i = 0; i < to; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(from, static_cast<int>(center + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int j = first; j < last; ++j) {
      const double x = (j - center + 0.5) / stretch;
      weights.push_back(filter == Filter::lanczos ? lanczos(x) : bicubic(x));
      sum += weights.back();
    }
    float* row = matrix.data() + static_cast<size_t>(i) * static_cast<size_t>(from);
    for (size_t j = 0; j < weights.size(); ++j) {
      row[static_cast<size_t>(first) + j] =
          static_cast<float>(std::round(weights[j] / sum * kOne) / kOne);
    }
  }
  return mx::array(matrix.begin(), {to, from}, mx::float32);
}

mx::array levels(const mx::array& x) {
  const mx::array rounded = mx::floor(mx::add(x, mx::array(0.5F)));
  return mx::clip(rounded, mx::array(0.0F), mx::array(255.0F));
}

}  // namespace

mx::array resample(const mx::array& image, int height, int width, Filter filter) {
  const int from_height = image.shape(0);
  const int from_width = image.shape(1);
  mx::array x = levels(mx::multiply(mx::add(image, mx::array(1.0F)), mx::array(127.5F)));
  if (width != from_width) {
    x = levels(mx::matmul(shares(from_width, width, filter), x));  // for each row
  }
  if (height != from_height) {
    const int channels = image.shape(2);
    const mx::array flat = mx::reshape(x, {from_height, width * channels});
    x = mx::reshape(
        levels(mx::matmul(shares(from_height, height, filter), flat)), {height, width, channels});
  }
  x = mx::subtract(mx::divide(x, mx::array(127.5F)), mx::array(1.0F));
  mx::eval(x);
  return x;
}

}  // namespace mflux::pipelines
