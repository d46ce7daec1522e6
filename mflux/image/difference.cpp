// SPDX-License-Identifier: MIT
// SSIM as Wang et al. 2004: a Gaussian window of 11 x 11, separable, so a row of windows is summed
// up column by column and then across. All sums are float64 on luma.
#include "mflux/image/difference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "mflux/base/error.h"

namespace mflux {
namespace {

constexpr size_t kWindow = 11;
constexpr double kSigma = 1.5;
constexpr double kPeak = 255;

using Weights = std::array<double, kWindow>;

void check_sizes(const Picture& a, const Picture& b) {
  if (a.width == b.width && a.height == b.height) return;
  fail(
      "pictures of {} x {} and {} x {} pixels cannot be compared",
      a.width,
      a.height,
      b.width,
      b.height);
}

Weights gaussian() {
  Weights weights = {};
  double sum = 0;
  for (size_t i = 0; i < kWindow; ++i) {
    const double distance = static_cast<double>(i) - (kWindow - 1) / 2.0;
    weights[i] = std::exp(-distance * distance / (2 * kSigma * kSigma));
    sum += weights[i];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

double luma(const uint8_t* rgb) {
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

// Weighted sums over a window: of a, b, a^2, b^2 and a b.
struct Moments {
  double a = 0;
  double b = 0;
  double aa = 0;
  double bb = 0;
  double ab = 0;

  void add(double weight, const Moments& other) {
    a += weight * other.a;
    b += weight * other.b;
    aa += weight * other.aa;
    bb += weight * other.bb;
    ab += weight * other.ab;
  }

  double similarity() const {
    constexpr double kC1 = (0.01 * kPeak) * (0.01 * kPeak);
    constexpr double kC2 = (0.03 * kPeak) * (0.03 * kPeak);
    return (2 * a * b + kC1) * (2 * (ab - a * b) + kC2) /
           ((a * a + b * b + kC1) * (aa - a * a + bb - b * b + kC2));
  }
};

// Sums of |a - b| by channel over a rectangle.
using Differences = std::array<uint64_t, 3>;

Differences differences(
    const Picture& a, const Picture& b, int top, int bottom, int left, int right) {
  Differences sums = {};
  for (int y = top; y < bottom; ++y) {
    const auto row = static_cast<size_t>(y) * static_cast<size_t>(a.width);
    for (size_t i = (row + static_cast<size_t>(left)) * 3;
         i < (row + static_cast<size_t>(right)) * 3;
         ++i) {
      sums[i % 3] += static_cast<uint64_t>(std::abs(a.rgb[i] - b.rgb[i]));
    }
  }
  return sums;
}

}  // namespace

double psnr_db(const Picture& a, const Picture& b) {
  check_sizes(a, b);
  uint64_t squares = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const int difference = a.rgb[i] - b.rgb[i];
    squares += static_cast<uint64_t>(difference * difference);
  }
  if (squares == 0) return std::numeric_limits<double>::infinity();
  const double mean = static_cast<double>(squares) / static_cast<double>(a.rgb.size());
  return 10 * std::log10(kPeak * kPeak / mean);
}

double ssim(const Picture& a, const Picture& b) {
  check_sizes(a, b);
  const auto height = static_cast<size_t>(a.height);
  const auto width = static_cast<size_t>(a.width);
  if (height < kWindow || width < kWindow) {
    fail("{} x {} pixels are too few for SSIM, which needs 11 x 11", a.width, a.height);
  }
  const Weights weights = gaussian();
  double sum = 0;
  std::vector<Moments> columns(width);  // the window is separable: down first, then across
  for (size_t y = 0; y + kWindow <= height; ++y) {
    std::ranges::fill(columns, Moments{});
    for (size_t i = 0; i < kWindow; ++i) {
      for (size_t x = 0; x < width; ++x) {
        const size_t at = ((y + i) * width + x) * 3;
        const double p = luma(&a.rgb[at]);
        const double q = luma(&b.rgb[at]);
        columns[x].add(weights[i], {p, q, p * p, q * q, p * q});
      }
    }
    for (size_t x = 0; x + kWindow <= width; ++x) {
      Moments window;
      for (size_t i = 0; i < kWindow; ++i) window.add(weights[i], columns[x + i]);
      sum += window.similarity();
    }
  }
  return sum / static_cast<double>((height - kWindow + 1) * (width - kWindow + 1));
}

Picture amplified_difference(const Picture& a, const Picture& b, double gain, int longest_side) {
  check_sizes(a, b);
  const int square = std::max(1, (std::max(a.width, a.height) + longest_side - 1) / longest_side);
  Picture small{(a.height + square - 1) / square, (a.width + square - 1) / square, {}};
  small.rgb.reserve(static_cast<size_t>(small.height) * static_cast<size_t>(small.width) * 3);
  for (int y = 0; y < a.height; y += square) {
    for (int x = 0; x < a.width; x += square) {
      const int bottom = std::min(y + square, a.height);
      const int right = std::min(x + square, a.width);
      const Differences sums = differences(a, b, y, bottom, x, right);
      for (const uint64_t sum : sums) {
        const double mean = static_cast<double>(sum) / (double{1} * (bottom - y) * (right - x));
        small.rgb.push_back(static_cast<uint8_t>(std::min(kPeak, std::round(gain * mean))));
      }
    }
  }
  return small;
}

}  // namespace mflux
