// SPDX-License-Identifier: MIT
// Each operation asks once whether arrays are made for the CPU, and is ours (nn/cpu/ops.h) or
// MLX's.
#include "mflux/nn/ops.h"

#include <cmath>
#include <string>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/cpu/bfloat16.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"

namespace mflux::nn {
namespace {

std::string mode_name(const QuantFormat& format) {
  return std::string(quant_mode_name(format.mode));
}

// In float32: with scales of the model's dtype MLX would round the weights to it.
mx::array dequantized(
    const QuantFormat& format,
    const mx::array& weight,
    const std::optional<mx::array>& scales,
    const std::optional<mx::array>& biases) {
  const bool affine = format.has_biases();
  return mx::dequantize(
      weight,
      affine ? mx::astype(*scales, mx::float32) : *scales,
      affine ? std::optional(mx::astype(*biases, mx::float32)) : std::nullopt,
      format.group_size,
      format.bits,
      mode_name(format),
      std::nullopt,
      mx::float32);
}

// x [..., inputs] W^T
mx::array product(const mx::array& x, const Linear& layer) {
  if (!layer.format) return mx::matmul(x, mx::transpose(mx::astype(layer.weight, mx::float32)));
  return mx::quantized_matmul(
      x,
      layer.weight,
      *layer.scales,
      layer.biases,
      true,
      layer.format->group_size,
      layer.format->bits,
      mode_name(*layer.format));
}

}  // namespace

mx::array dense_weight(const Linear& layer) {
  if (!layer.format) return mx::astype(layer.weight, mx::float32);
  return dequantized(*layer.format, layer.weight, layer.scales, layer.biases);
}

mx::array linear(const mx::array& x, const Linear& layer) {
  if (x.shape(-1) != layer.inputs()) {
    fail("{}: takes {} channels, got {}", layer.name, layer.inputs(), x.shape(-1));
  }
  if (cpu::on_cpu()) return cpu::linear(x, layer);
  mx::array y = product(x, layer);
  if (layer.bias) y = mx::add(y, mx::astype(*layer.bias, mx::float32));
  for (const LowRankPath& lora : layer.loras) {
    const mx::array low = mx::matmul(x, mx::transpose(lora.down));
    y = mx::add(y, mx::matmul(low, mx::transpose(lora.up)));
  }
  return y;
}

mx::array embed(const mx::array& ids, const Embedding& layer) {
  const Linear& table = layer.table;
  const auto rows = [&](const std::optional<mx::array>& part) -> std::optional<mx::array> {
    if (!part) return std::nullopt;
    return mx::take(*part, ids, 0);
  };
  const mx::array found = mx::take(table.weight, ids, 0);
  mx::array y = table.format
                    ? dequantized(*table.format, found, rows(table.scales), rows(table.biases))
                    : mx::astype(found, mx::float32);
  for (const LowRankPath& lora : table.loras) {
    y = mx::add(y, mx::matmul(mx::take(lora.up, ids, 0), lora.down));
  }
  return y;
}

bool has_bfloat16_products() {
  return cpu::has_bfloat16();
}

mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask,
    Products products) {
  if (cpu::on_cpu()) return cpu::attention(q, k, v, scale, mask, products);
  return mx::fast::scaled_dot_product_attention(q, k, v, scale, mask ? "array" : "", mask);
}

mx::array modulated_layer_norm(
    const mx::array& x, const mx::array& scale, const mx::array& shift, float eps) {
  if (cpu::on_cpu()) return cpu::modulated_layer_norm(x, scale, shift, eps);
  const mx::array normed = mx::fast::layer_norm(x, std::nullopt, std::nullopt, eps);
  return mx::add(mx::multiply(normed, mx::add(scale, mx::array(1.0F))), shift);
}

mx::array layer_norm(const mx::array& x, const Norm& norm, float eps) {
  if (cpu::on_cpu()) return cpu::layer_norm(x, norm, eps);
  std::optional<mx::array> bias;
  if (norm.bias) bias = mx::astype(*norm.bias, mx::float32);
  return mx::fast::layer_norm(x, mx::astype(norm.weight, mx::float32), bias, eps);
}

mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps) {
  if (cpu::on_cpu()) return cpu::rms_norm(x, weight, eps);
  return mx::fast::rms_norm(x, mx::astype(weight, mx::float32), eps);
}

mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps) {
  if (cpu::on_cpu()) return cpu::group_norm(x, norm, groups, eps);
  const int channels = x.shape(-1);
  const int batch = x.shape(0);
  const auto positions = static_cast<int>(x.size()) / (batch * channels);
  mx::array y = mx::reshape(x, {batch, positions, groups, channels / groups});
  const mx::array mean = mx::mean(y, {1, 3}, true);
  const mx::array variance = mx::var(y, {1, 3}, true);
  y = mx::multiply(mx::subtract(y, mean), mx::rsqrt(mx::add(variance, mx::array(eps))));
  y = mx::multiply(mx::reshape(y, x.shape()), mx::astype(norm.weight, mx::float32));
  return norm.bias ? mx::add(y, mx::astype(*norm.bias, mx::float32)) : y;
}

mx::array gelu(const mx::array& x) {
  if (cpu::on_cpu()) return cpu::activation(cpu::Activation::gelu, x);
  const mx::array phi = mx::add(mx::array(1.0F), mx::erf(mx::multiply(x, mx::array(0.70710678F))));
  return mx::multiply(mx::multiply(x, mx::array(0.5F)), phi);
}

mx::array gelu_tanh(const mx::array& x) {
  if (cpu::on_cpu()) return cpu::activation(cpu::Activation::gelu_tanh, x);
  const mx::array cubic = mx::multiply(mx::array(0.044715F), mx::power(x, mx::array(3)));
  const mx::array inner = mx::multiply(mx::array(0.7978845608F), mx::add(x, cubic));
  return mx::multiply(mx::multiply(x, mx::array(0.5F)), mx::add(mx::array(1.0F), mx::tanh(inner)));
}

mx::array quick_gelu(const mx::array& x) {
  if (cpu::on_cpu()) return cpu::activation(cpu::Activation::quick_gelu, x);
  return mx::multiply(x, mx::sigmoid(mx::multiply(mx::array(1.702F), x)));
}

mx::array silu(const mx::array& x) {
  if (cpu::on_cpu()) return cpu::activation(cpu::Activation::silu, x);
  return mx::multiply(x, mx::sigmoid(x));
}

mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y) {
  if (cpu::on_cpu()) return cpu::gated_add(x, gate, y);
  return mx::add(x, mx::multiply(gate, y));
}

mx::array join_channels(const std::vector<mx::array>& parts) {
  if (cpu::on_cpu()) return cpu::join_channels(parts);
  return mx::concatenate(parts, -1);
}

mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  if (cpu::on_cpu()) return cpu::rotate_pairs(x, cos, sin);
  mx::Shape pairs = x.shape();
  pairs.back() /= 2;
  pairs.push_back(2);
  const std::vector<mx::array> parts = mx::split(mx::reshape(x, pairs), 2, -1);
  const mx::array real = mx::squeeze(parts[0], -1);
  const mx::array imaginary = mx::squeeze(parts[1], -1);
  const mx::array first = mx::subtract(mx::multiply(real, cos), mx::multiply(imaginary, sin));
  const mx::array second = mx::add(mx::multiply(imaginary, cos), mx::multiply(real, sin));
  return mx::reshape(mx::stack({first, second}, -1), x.shape());
}

mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  if (cpu::on_cpu()) return cpu::rotate_halves(x, cos, sin);
  const std::vector<mx::array> halves = mx::split(x, 2, -1);
  const mx::array first = mx::subtract(mx::multiply(halves[0], cos), mx::multiply(halves[1], sin));
  const mx::array second = mx::add(mx::multiply(halves[1], cos), mx::multiply(halves[0], sin));
  return mx::concatenate({first, second}, -1);
}

mx::array timestep_embedding(const mx::array& values, int width, float max_period) {
  const int half = width / 2;
  const mx::array exponents = mx::multiply(
      mx::arange(0, half, mx::float32),
      mx::array(-std::log(max_period) / static_cast<float>(half)));
  const mx::array angles = mx::multiply(
      mx::expand_dims(mx::astype(values, mx::float32), -1), mx::expand_dims(mx::exp(exponents), 0));
  return mx::concatenate({mx::cos(angles), mx::sin(angles)}, -1);
}

mx::array conv2d(const mx::array& x, const Conv& conv, const Conv2dOptions& options) {
  if (cpu::on_cpu()) return cpu::conv2d(x, conv, options);
  const auto [top, bottom] = options.height_padding;
  const auto [left, right] = options.width_padding;
  const mx::array padded = mx::pad(x, {{0, 0}, {top, bottom}, {left, right}, {0, 0}});
  const mx::array y = mx::conv2d(
      padded, mx::astype(conv.weight, mx::float32), {options.stride, options.stride}, {0, 0});
  return conv.bias ? mx::add(y, mx::astype(*conv.bias, mx::float32)) : y;
}

mx::array upsample_nearest(const mx::array& x) {
  if (cpu::on_cpu()) return cpu::upsample_nearest(x);
  return mx::repeat(mx::repeat(x, 2, 1), 2, 2);
}

}  // namespace mflux::nn
