// SPDX-License-Identifier: MIT
// Times the operations of mflux/nn/ops.h on the CPU beside MLX's own, at FLUX.1's sizes (512 px:
// 1,536 tokens of 3,072 channels, 24 heads).
//
//   ops_bench [part of a name]
#include "mflux/nn/ops.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <mlx/mlx.h>

namespace mflux {
namespace {

using nn::Conv;
using nn::Linear;
using nn::Norm;
using Make = std::function<mx::array()>;

double seconds(const Make& make, int runs) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    mx::eval(make());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

struct Case {
  std::string name;
  double work;       // of ours: floating-point operations, or bytes read and written
  const char* unit;  // "GFLOP/s" or "GB/s"
  Make ours;
  Make theirs;
  double their_work = 0;  // where MLX gets a smaller piece, because it takes minutes
};

void report(const Case& c, std::string_view wanted) {
  if (c.name.find(wanted) == std::string::npos) return;
  const double ours = c.work / seconds(c.ours, 3) / 1e9;
  const double theirs = (c.their_work != 0 ? c.their_work : c.work) / seconds(c.theirs, 2) / 1e9;
  fmt::print(
      "{:<44} {:>8.1f} {:>8.2f} {:<8} {:>7.1f}x\n", c.name, ours, theirs, c.unit, ours / theirs);
  std::fflush(stdout);
}

mx::array values(const mx::Shape& shape, mx::Dtype dtype = mx::float32) {
  const mx::array x = mx::astype(mx::random::normal(shape), dtype);
  mx::eval(x);
  return x;
}

double megabytes(const mx::array& x, double times) {
  return static_cast<double>(x.nbytes()) * times;
}

Linear packed(int outputs, int inputs, int bits) {
  const std::vector<mx::array> parts =
      mx::quantize(values({outputs, inputs}, mx::bfloat16), 64, bits);
  mx::eval(parts);
  Linear layer{.weight = parts[0], .format = QuantFormat{.bits = bits}};
  layer.scales = parts[1];
  layer.biases = parts[2];
  return layer;
}

Case linear_case(int rows, int outputs, int inputs, int bits) {
  const bool is_packed = bits < 16;
  const Linear layer =
      is_packed
          ? packed(outputs, inputs, bits)
          : Linear{.weight = values({outputs, inputs}, bits == 16 ? mx::bfloat16 : mx::float32)};
  const mx::array x = values({1, rows, inputs});
  const auto flops = [=](int count) { return 2.0 * count * outputs * inputs; };
  const int few = is_packed ? std::min(rows, 8) : rows;
  const mx::array some = values({1, few, inputs});
  const auto theirs = [=] {
    if (!is_packed) return mx::matmul(some, mx::transpose(mx::astype(layer.weight, mx::float32)));
    return mx::quantized_matmul(some, layer.weight, *layer.scales, layer.biases, true, 64, bits);
  };
  return {
      fmt::format("linear {} x {} -> {}, {} bits", rows, inputs, outputs, bits),
      flops(rows),
      "GFLOP/s",
      [=] { return nn::linear(x, layer); },
      theirs,
      flops(few)};
}

void linears(std::string_view wanted) {
  for (const int bits : {32, 16, 8, 4}) {
    report(linear_case(1536, 12288, 3072, bits), wanted);
    report(linear_case(1536, 3072, 12288, bits), wanted);
    report(linear_case(1536, 3072, 3072, bits), wanted);
    report(linear_case(77, 3072, 768, bits), wanted);
    report(linear_case(1, 18432, 3072, bits), wanted);
  }
}

void attentions(std::string_view wanted) {
  for (const int tokens : {1536, 4608}) {
    const auto heads = [&] { return mx::transpose(values({1, tokens, 24, 128}), {0, 2, 1, 3}); };
    const mx::array q = heads();
    const mx::array k = heads();
    const mx::array v = heads();
    report(
        {fmt::format("attention {} tokens, 24 x 128", tokens),
         4.0 * tokens * tokens * 3072,
         "GFLOP/s",
         [=] { return nn::attention(q, k, v, 0.088F); },
         [=] { return mx::fast::scaled_dot_product_attention(q, k, v, 0.088F, ""); }},
        wanted);
  }
}

void rows(std::string_view wanted) {
  const mx::array x = values({1, 1536, 3072});
  const mx::array wider = values({1, 1536, 12288});
  const mx::array scale = values({1, 1, 3072});
  const Norm norm{.weight = values({3072}), .bias = values({3072})};
  const mx::array one = mx::array(1.0F);
  const auto add =
      [&](std::string name, const mx::array& in, Make ours, Make theirs, double times) {
        report(
            {std::move(name), megabytes(in, times), "GB/s", std::move(ours), std::move(theirs)},
            wanted);
      };
  add(
      "layer_norm",
      x,
      [=] { return nn::layer_norm(x, norm, 1e-6F); },
      [=] { return mx::fast::layer_norm(x, norm.weight, norm.bias, 1e-6F); },
      2);
  add(
      "modulated_layer_norm",
      x,
      [=] { return nn::modulated_layer_norm(x, scale, scale, 1e-6F); },
      [=] {
        const mx::array y = mx::fast::layer_norm(x, std::nullopt, std::nullopt, 1e-6F);
        return mx::add(mx::multiply(y, mx::add(scale, one)), scale);
      },
      2);
  const mx::array heads = mx::transpose(mx::reshape(x, {1, 1536, 24, 128}), {0, 2, 1, 3});
  const mx::array weight = values({128});
  add(
      "rms_norm of heads",
      x,
      [=] { return nn::rms_norm(heads, weight, 1e-6F); },
      [=] { return mx::fast::rms_norm(heads, weight, 1e-6F); },
      2);
  const mx::array angle = values({1536, 64});
  add(
      "rotate_pairs",
      x,
      [=] { return nn::rotate_pairs(heads, angle, angle); },
      [=] {
        const auto parts = mx::split(mx::reshape(heads, {1, 24, 1536, 64, 2}), 2, -1);
        const mx::array a = mx::squeeze(parts[0], -1);
        const mx::array b = mx::squeeze(parts[1], -1);
        const mx::array first = mx::subtract(mx::multiply(a, angle), mx::multiply(b, angle));
        const mx::array second = mx::add(mx::multiply(b, angle), mx::multiply(a, angle));
        return mx::reshape(mx::stack({first, second}, -1), heads.shape());
      },
      2);
  add(
      "gelu",
      wider,
      [=] { return nn::gelu(wider); },
      [=] {
        const mx::array erf = mx::erf(mx::multiply(wider, mx::array(0.70710678F)));
        return mx::multiply(mx::multiply(wider, mx::array(0.5F)), mx::add(one, erf));
      },
      2);
  add(
      "gelu_tanh",
      wider,
      [=] { return nn::gelu_tanh(wider); },
      [=] {
        const mx::array cubic = mx::multiply(mx::array(0.044715F), mx::power(wider, mx::array(3)));
        const mx::array u = mx::multiply(mx::array(0.7978845608F), mx::add(wider, cubic));
        return mx::multiply(mx::multiply(wider, mx::array(0.5F)), mx::add(one, mx::tanh(u)));
      },
      2);
  add(
      "silu",
      wider,
      [=] { return nn::silu(wider); },
      [=] { return mx::multiply(wider, mx::sigmoid(wider)); },
      2);
  const mx::array y = values({1, 1536, 3072});
  add(
      "gated_add",
      x,
      [=] { return nn::gated_add(x, scale, y); },
      [=] { return mx::add(x, mx::multiply(scale, y)); },
      3);
}

void images(std::string_view wanted) {
  struct Size {
    int side;
    int in;
    int out;
  };
  for (const Size& size : {Size{64, 512, 512}, {128, 512, 512}, {256, 512, 256}, {512, 256, 128}}) {
    const mx::array x = values({1, size.side, size.side, size.in});
    const Conv conv{.weight = values({size.out, 3, 3, size.in})};
    report(
        {fmt::format("conv2d {}^2, {} -> {}", size.side, size.in, size.out),
         18.0 * size.side * size.side * size.in * size.out,
         "GFLOP/s",
         [=] { return nn::conv2d(x, conv, {.height_padding = {1, 1}, .width_padding = {1, 1}}); },
         [=] { return mx::conv2d(x, conv.weight, {1, 1}, {1, 1}); }},
        wanted);
  }
  const mx::array x = values({1, 512, 512, 128});
  const Norm norm{.weight = values({128}), .bias = values({128})};
  report(
      {"group_norm 512^2 x 128",
       megabytes(x, 3),
       "GB/s",
       [=] { return nn::group_norm(x, norm, 32, 1e-6F); },
       [=] {
         const mx::array y = mx::reshape(x, {1, 512 * 512, 32, 4});
         const mx::array centered = mx::subtract(y, mx::mean(y, {1, 3}, true));
         return mx::multiply(centered, mx::rsqrt(mx::var(y, {1, 3}, true)));
       }},
      wanted);
  report(
      {"upsample_nearest 512^2 x 128",
       megabytes(x, 5),
       "GB/s",
       [=] { return nn::upsample_nearest(x); },
       [=] { return mx::repeat(mx::repeat(x, 2, 1), 2, 2); }},
      wanted);
}

}  // namespace
}  // namespace mflux

int main(int argc, char** argv) {
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  mlx::core::set_default_device(mlx::core::Device::cpu);
  fmt::print("{:<44} {:>8} {:>8}\n", "", "ours", "MLX");
  mflux::linears(wanted);
  mflux::attentions(wanted);
  mflux::rows(wanted);
  mflux::images(wanted);
  return 0;
}
