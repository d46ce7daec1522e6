// SPDX-License-Identifier: MIT
// Linear layers of random values, and what they give.
#pragma once

#include <string>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"

namespace mflux::nn::testing {

inline Linear random_layer(int outputs, int inputs, mx::Dtype dtype) {
  Linear layer{.name = "layer"};
  layer.weight = mx::astype(mx::random::normal({outputs, inputs}), dtype);
  layer.bias = mx::astype(mx::random::normal({outputs}), dtype);
  mx::eval(layer.weight, *layer.bias);
  return layer;
}

inline Linear packed(const Linear& layer, const QuantFormat& format) {
  Linear result = layer;
  const std::vector<mx::array> parts = mx::quantize(
      layer.weight, format.group_size, format.bits, std::string(quant_mode_name(format.mode)));
  result.format = format;
  result.weight = parts[0];
  result.scales = parts[1];
  if (parts.size() > 2) result.biases = parts[2];
  mx::eval(parts);
  return result;
}

inline std::vector<QuantFormat> every_format() {
  std::vector<QuantFormat> formats = {
      {QuantMode::mxfp4, 4, 32}, {QuantMode::mxfp8, 8, 32}, {QuantMode::nvfp4, 4, 16}};
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group : {32, 64, 128}) formats.push_back({QuantMode::affine, bits, group});
  }
  return formats;
}

// In float64.
inline mx::array expected_linear(const mx::array& x, const Linear& layer) {
  const auto product = [](const mx::array& a, const mx::array& b) {
    return mx::matmul(a, mx::transpose(wide(b)));
  };
  mx::array y = product(wide(x), dense_weight(layer));
  if (layer.bias) y = mx::add(y, wide(*layer.bias));
  for (const LowRankPath& lora : layer.loras) {
    y = mx::add(y, product(product(wide(x), lora.down), lora.up));
  }
  return y;
}

}  // namespace mflux::nn::testing
