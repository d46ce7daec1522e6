// SPDX-License-Identifier: MIT
// The arithmetic of norms on single rows.
#pragma once

#include <cstddef>

namespace mflux::nn::cpu {

// out = (x - mean) / sqrt(variance + eps) * (weight + plus) + bias; weight may be null for 1, and
// bias for 0.
struct LayerNormRow {
  const float* weight = nullptr;
  const float* bias = nullptr;
  float plus = 0;
  float eps = 0;
};
void layer_norm(const LayerNormRow& norm, const float* x, size_t count, float* out);

// out = x / sqrt(mean of squares + eps) * weight
void rms_norm(const float* weight, float eps, const float* x, size_t count, float* out);

// Of each channel over the rows of x [rows, channels]: the sum, and the sum of squared differences
// to `center`, in float32. They are for at most a few hundred rows.
void add_channels(const float* x, size_t rows, size_t channels, float* sums);
void add_squares(const float* x, size_t rows, size_t channels, const float* center, float* squares);

// out = (x - center) * factor + bias, by channel
void normalize_channels(
    const float* x,
    size_t channels,
    const float* center,
    const float* factor,
    const float* bias,
    float* out);

}  // namespace mflux::nn::cpu
