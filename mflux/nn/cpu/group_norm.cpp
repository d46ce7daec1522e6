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

class GroupNormComputation {
 public:
  GroupNormComputation(const std::vector<mx::array>& arrays, size_t groups, float eps)
      : x_(arrays[0]),
        weight_(arrays[1]),
        channels_(static_cast<size_t>(arrays[1].size())),
        groups_(groups),
        eps_(eps) {
    if (arrays.size() > 2) bias_.emplace(arrays[2]);
  }

  // An image of `rows` positions.
  void run(const float* x, size_t rows, float* out) const {
    const std::vector<Moments> moments = group_moments(x, rows);
    const size_t group = channels_ / groups_;
    std::vector<float> center(channels_);
    std::vector<float> factor(channels_);
    std::vector<float> bias(channels_);
    for (size_t i = 0; i < channels_; ++i) {
      const Moments& of_group = moments[i / group];
      const double variance = of_group.squares / of_group.count;
      center[i] = static_cast<float>(of_group.mean);
      factor[i] =
          static_cast<float>(double{weight_.floats()[i]} / std::sqrt(variance + double{eps_}));
      if (bias_) bias[i] = bias_->floats()[i];
    }
    each_rows(rows, channels_, [&](size_t begin, size_t end) {
      for (size_t i = begin * channels_; i < end * channels_; i += channels_) {
        normalize_channels(x + i, channels_, center.data(), factor.data(), bias.data(), out + i);
      }
    });
  }

  const float* x() const { return x_.floats(); }

 private:
  std::vector<Moments> group_moments(const float* x, size_t rows) const {
    const size_t tasks = (rows + kTaskRows - 1) / kTaskRows;
    std::vector<Moments> parts(tasks * channels_);
    tbb::parallel_for(size_t{0}, tasks, [&](size_t task) {
      const size_t begin = task * kTaskRows;
      add_moments(
          x + begin * channels_,
          std::min(kTaskRows, rows - begin),
          std::span(parts).subspan(task * channels_, channels_));
    });
    // In order, whoever was first.
    std::vector<Moments> groups(groups_);
    for (size_t i = 0; i < parts.size(); ++i) {
      groups[i % channels_ / (channels_ / groups_)].join(parts[i]);
    }
    return groups;
  }

  Packed x_;
  Packed weight_;
  std::optional<Packed> bias_ = {};
  size_t channels_;
  size_t groups_;
  float eps_;
};

}  // namespace

mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps) {
  std::vector<mx::array> inputs = {
      mx::astype(x, mx::float32), mx::astype(norm.weight, mx::float32)};
  if (norm.bias) inputs.push_back(mx::astype(*norm.bias, mx::float32));
  const auto compute = [=](const std::vector<mx::array>& arrays, std::span<float> out) {
    const GroupNormComputation computation(arrays, static_cast<size_t>(groups), eps);
    const auto batches = static_cast<size_t>(arrays[0].shape(0));
    const auto channels = static_cast<size_t>(arrays[0].shape(-1));
    const size_t image = out.size() / batches;
    for (size_t begin = 0; begin < out.size(); begin += image) {
      computation.run(computation.x() + begin, image / channels, out.data() + begin);
    }
  };
  return operation("GroupNorm", x.shape(), std::move(inputs), compute);
}

}  // namespace mflux::nn::cpu
