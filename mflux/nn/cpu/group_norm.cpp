// SPDX-License-Identifier: MIT
// Two passes over an image. The first gathers the moments of each channel, 64 rows at a time in
// float32 while they are in the cache, joined in float64 in the order of the rows, so the result
// does not depend on threads. The second applies one factor and one shift per channel.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/nn/cpu/norm_rows.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"
#include "mflux/nn/cpu/rows.h"

namespace mflux::nn::cpu {
namespace {

// Sums of so many rows are exact enough in float32, and the rows are still in the cache for the
// squares.
constexpr size_t kRunRows = 64;
constexpr size_t kTaskRows = 4096;

// Mean and sum of squared distances to it, of `count` values; parts are joined as in Chan, Golub,
// LeVeque: "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
struct Moments {
  double count = 0;
  double mean = 0;
  double squares = 0;

  void join(const Moments& other) {
    const double total = count + other.count;
    if (other.count == 0) return;
    const double distance = other.mean - mean;
    mean += distance * other.count / total;
    squares += other.squares + distance * distance * count * other.count / total;
    count = total;
  }
};

// Of each channel, over the rows of x [rows, channels].
void add_moments(const float* x, size_t rows, std::span<Moments> channels) {
  const size_t width = channels.size();
  std::vector<float> centers(width);
  std::vector<float> squares(width);
  for (size_t row = 0; row < rows; row += kRunRows) {
    const size_t run = std::min(kRunRows, rows - row);
    const auto size = static_cast<float>(run);
    std::ranges::fill(centers, 0.0F);
    std::ranges::fill(squares, 0.0F);
    add_channels(x + row * width, run, width, centers.data());
    for (float& center : centers) center /= size;
    add_squares(x + row * width, run, width, centers.data(), squares.data());
    for (size_t i = 0; i < width; ++i) channels[i].join({size, centers[i], squares[i]});
  }
}

// Of each group, over an image of `rows` positions.
std::vector<Moments> group_moments(const float* x, size_t rows, size_t channels, size_t groups) {
  const size_t tasks = (rows + kTaskRows - 1) / kTaskRows;
  std::vector<Moments> parts(tasks * channels);
  tbb::parallel_for(size_t{0}, tasks, [&](size_t task) {
    const size_t begin = task * kTaskRows;
    add_moments(
        x + begin * channels,
        std::min(kTaskRows, rows - begin),
        std::span(parts).subspan(task * channels, channels));
  });
  // In order, whoever was first.
  std::vector<Moments> result(groups);
  for (size_t i = 0; i < parts.size(); ++i) {
    result[i % channels / (channels / groups)].join(parts[i]);
  }
  return result;
}

// By channel; `bias` may be null.
struct Affine {
  const float* weight;
  const float* bias;
  size_t channels;
};

void normalize(
    const Affine& affine, size_t groups, float eps, const float* x, size_t rows, float* out) {
  const size_t channels = affine.channels;
  const std::vector<Moments> moments = group_moments(x, rows, channels, groups);
  std::vector<float> center(channels);
  std::vector<float> factor(channels);
  std::vector<float> bias(channels);
  for (size_t i = 0; i < channels; ++i) {
    const Moments& of_group = moments[i / (channels / groups)];
    const double variance = of_group.squares / of_group.count;
    center[i] = static_cast<float>(of_group.mean);
    factor[i] = static_cast<float>(double{affine.weight[i]} / std::sqrt(variance + double{eps}));
    if (affine.bias != nullptr) bias[i] = affine.bias[i];
  }
  each_rows(rows, channels, [&](size_t begin, size_t end) {
    for (size_t i = begin * channels; i < end * channels; i += channels) {
      normalize_channels(x + i, channels, center.data(), factor.data(), bias.data(), out + i);
    }
  });
}

}  // namespace

mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps) {
  std::vector<mx::array> inputs = {
      mx::astype(x, mx::float32), mx::astype(norm.weight, mx::float32)};
  if (norm.bias) inputs.push_back(mx::astype(*norm.bias, mx::float32));
  const auto compute = [=](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Packed image(arrays[0]);
    const Packed weight(arrays[1]);
    std::optional<Packed> bias;
    if (arrays.size() > 2) bias.emplace(arrays[2]);
    const auto channels = static_cast<size_t>(arrays[0].shape(-1));
    const Affine affine{weight.floats(), bias ? bias->floats() : nullptr, channels};
    const size_t size = out.size() / static_cast<size_t>(arrays[0].shape(0));
    for (size_t begin = 0; begin < out.size(); begin += size) {
      normalize(
          affine,
          static_cast<size_t>(groups),
          eps,
          image.floats() + begin,
          size / channels,
          out.data() + begin);
    }
  };
  return operation("GroupNorm", x.shape(), std::move(inputs), compute);
}

}  // namespace mflux::nn::cpu
