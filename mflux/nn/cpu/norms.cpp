// SPDX-License-Identifier: MIT
// A row at a time, several rows in parallel: mean and variance of a row by norm_rows.h, then the
// row once more. Weights that differ by row (modulation) come as arrays broadcast to x, which cost
// nothing but a stride of zero.
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>

#include "mflux/nn/cpu/norm_rows.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"
#include "mflux/nn/cpu/rows.h"

namespace mflux::nn::cpu {
namespace {

// Weight and bias are broadcast to x. `plus` is added to the weight.
mx::array any_layer_norm(
    const mx::array& x,
    const mx::array& weight,
    const std::optional<mx::array>& bias,
    float plus,
    float eps) {
  const auto compute = [=](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const Rows weights(arrays[1]);
    const Rows biases(arrays.back());  // the weights again if there are none
    const bool has_bias = arrays.size() > 2;
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        const LayerNormRow norm{weights[i], has_bias ? biases[i] : nullptr, plus, eps};
        layer_norm(norm, rows[i], width, out.data() + i * width);
      }
    });
  };
  const auto broadcast = [&](const mx::array& part) {
    return mx::broadcast_to(mx::astype(part, mx::float32), x.shape());
  };
  std::vector<mx::array> inputs = {broadcast(x), broadcast(weight)};
  if (bias) inputs.push_back(broadcast(*bias));
  return operation("LayerNorm", x.shape(), std::move(inputs), compute);
}

}  // namespace

mx::array modulated_layer_norm(
    const mx::array& x, const mx::array& scale, const mx::array& shift, float eps) {
  return any_layer_norm(x, scale, shift, 1, eps);
}

mx::array layer_norm(const mx::array& x, const Norm& norm, float eps) {
  return any_layer_norm(x, norm.weight, norm.bias, 0, eps);
}

mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps) {
  const auto compute = [eps](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const Packed weights(arrays[1]);
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        rms_norm(weights.floats(), eps, rows[i], width, out.data() + i * width);
      }
    });
  };
  return operation(
      "RmsNorm", x.shape(), {mx::astype(x, mx::float32), mx::astype(weight, mx::float32)}, compute);
}

}  // namespace mflux::nn::cpu
