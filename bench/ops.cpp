// SPDX-License-Identifier: MIT
// Times the operations of mflux/nn/ops.h on the CPU beside MLX's own, at FLUX.1's sizes (512 px:
// 1,536 tokens of 3,072 channels, 24 heads).
//
//   ops_bench [part of a name | chain]
//
// Rates are for one second of one processor, so that they mean something on a machine that others
// use too; the column after shows how many processors ours kept busy.
#include "mflux/nn/ops.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mlx/mlx.h>

namespace mflux {
namespace {

using nn::Conv;
using nn::Linear;
using nn::Norm;
using nn::Products;
using Make = std::function<mx::array()>;

struct Took {
  double processor = std::numeric_limits<double>::infinity();  // seconds, of all threads
  double wall = std::numeric_limits<double>::infinity();
};

// The least of several runs.
Took seconds(const Make& make, int runs) {
  Took best;
  for (int i = 0; i < runs; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t processor = std::clock();
    mx::eval(make());
    const double used = static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    best.processor = std::min(best.processor, used);
    best.wall = std::min(best.wall, took.count());
  }
  return best;
}

struct Case {
  double work;       // of ours: floating-point operations, or bytes read and written
  const char* unit;  // "GFLOP/s" or "GB/s"
  Make ours;
  Make theirs;
  double their_work = 0;  // where MLX gets a smaller piece, because it takes minutes
};

class Report {
 public:
  explicit Report(std::string_view wanted) : wanted_(wanted) {
    fmt::print("{:<52} {:>8} {:>8} {:>25} {:>9}\n", "", "ours", "MLX", "busy", "wall ms");
  }

  // Makes the case only if its name holds what was asked for.
  template <typename MakeCase>
  void add(const std::string& name, const MakeCase& make) const {
    if (name.find(wanted_) == std::string::npos) return;
    const Case c = make();
    const Took took = seconds(c.ours, 3);
    const double ours = c.work / took.processor / 1e9;
    const double work = c.their_work != 0 ? c.their_work : c.work;
    const double theirs = work / seconds(c.theirs, 2).processor / 1e9;
    fmt::print(
        "{:<52} {:>8.1f} {:>8.2f} {:<8} {:>7.1f}x {:>6.1f} {:>9.1f}\n",
        name,
        ours,
        theirs,
        c.unit,
        ours / theirs,
        took.processor / took.wall,
        took.wall * 1e3);
    std::fflush(stdout);
  }

 private:
  std::string_view wanted_;
};

mx::array values(const mx::Shape& shape, mx::Dtype dtype = mx::float32) {
  const mx::array x = mx::astype(mx::random::normal(shape), dtype);
  mx::eval(x);
  return x;
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

Case linear_case(int rows, int inputs, int outputs, int bits, Products products) {
  const bool is_packed = bits < 16;
  const mx::Dtype dtype = bits == 16 ? mx::bfloat16 : mx::float32;
  Linear layer = is_packed ? packed(outputs, inputs, bits)
                           : Linear{.weight = values({outputs, inputs}, dtype)};
  layer.products = products;
  const mx::array x = values({1, rows, inputs});
  const auto flops = [=](int count) { return 2.0 * count * outputs * inputs; };
  const int few = is_packed ? std::min(rows, 4) : rows;
  const mx::array some = values({1, few, inputs});
  const auto theirs = [=] {
    if (!is_packed) return mx::matmul(some, mx::transpose(mx::astype(layer.weight, mx::float32)));
    return mx::quantized_matmul(some, layer.weight, *layer.scales, layer.biases, true, 64, bits);
  };
  return {flops(rows), "GFLOP/s", [=] { return nn::linear(x, layer); }, theirs, flops(few)};
}

// "" and what the CPU can do beside float32.
std::vector<std::pair<const char*, Products>> all_products() {
  std::vector<std::pair<const char*, Products>> all = {{"", Products::float32}};
  if (nn::has_bfloat16_products()) all.emplace_back(" in bfloat16", Products::bfloat16);
  return all;
}

void linears(const Report& report) {
  struct Size {
    int rows;
    int inputs;
    int outputs;
  };
  constexpr Size kSizes[] = {
      {1536, 3072, 12288},
      {1536, 12288, 3072},
      {1536, 3072, 3072},
      {512, 3072, 3072},
      {4608, 3072, 3072},
      {4608, 3072, 12288},
      {77, 768, 3072},
      {1, 3072, 18432}};
  for (const auto& [rows, inputs, outputs] : kSizes) {
    for (const int bits : {32, 16, 8, 4}) {
      for (const auto& [label, products] : all_products()) {
        const std::string name =
            fmt::format("linear {} x {} -> {}, {} bits{}", rows, inputs, outputs, bits, label);
        report.add(name, [&] { return linear_case(rows, inputs, outputs, bits, products); });
      }
    }
  }
}

mx::array heads(int tokens) {
  return mx::transpose(values({1, tokens, 24, 128}), {0, 2, 1, 3});
}

void attentions(const Report& report) {
  for (const int tokens : {1536, 4608}) {
    for (const auto& [label, products] : all_products()) {
      report.add(fmt::format("attention {} tokens, 24 x 128{}", tokens, label), [&]() -> Case {
        const mx::array q = heads(tokens);
        const mx::array k = heads(tokens);
        const mx::array v = heads(tokens);
        return {
            4.0 * tokens * tokens * 3072,
            "GFLOP/s",
            [=, in = products] { return nn::attention(q, k, v, 0.088F, {}, in); },
            [=] { return mx::fast::scaled_dot_product_attention(q, k, v, 0.088F, ""); }};
      });
    }
  }
}

mx::array mlx_rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  const auto parts = mx::split(mx::reshape(x, {1, 24, 1536, 64, 2}), 2, -1);
  const mx::array a = mx::squeeze(parts[0], -1);
  const mx::array b = mx::squeeze(parts[1], -1);
  const mx::array first = mx::subtract(mx::multiply(a, cos), mx::multiply(b, sin));
  const mx::array second = mx::add(mx::multiply(b, cos), mx::multiply(a, sin));
  return mx::reshape(mx::stack({first, second}, -1), x.shape());
}

mx::array mlx_gelu(const mx::array& x) {
  const mx::array erf = mx::erf(mx::multiply(x, mx::array(0.70710678F)));
  return mx::multiply(mx::multiply(x, mx::array(0.5F)), mx::add(mx::array(1.0F), erf));
}

mx::array mlx_gelu_tanh(const mx::array& x) {
  const mx::array cubic = mx::multiply(mx::array(0.044715F), mx::power(x, mx::array(3)));
  const mx::array tanh = mx::tanh(mx::multiply(mx::array(0.7978845608F), mx::add(x, cubic)));
  return mx::multiply(mx::multiply(x, mx::array(0.5F)), mx::add(mx::array(1.0F), tanh));
}

mx::array mlx_modulated_layer_norm(const mx::array& x, const mx::array& scale) {
  const mx::array y = mx::fast::layer_norm(x, std::nullopt, std::nullopt, 1e-6F);
  return mx::add(mx::multiply(y, mx::add(scale, mx::array(1.0F))), scale);
}

void rows(const Report& report) {
  const mx::array x = values({1, 1536, 3072});
  const mx::array y = values({1, 1536, 3072});
  const mx::array wide = values({1, 1536, 12288});
  const mx::array scale = values({1, 1, 3072});
  const Norm norm{.weight = values({3072}), .bias = values({3072})};
  const mx::array heads = mx::transpose(mx::reshape(x, {1, 1536, 24, 128}), {0, 2, 1, 3});
  const mx::array weight = values({128});
  const mx::array angle = values({1536, 64});
  const auto add = [&](const char* name, const mx::array& in, int times, Make ours, Make theirs) {
    const double bytes = static_cast<double>(in.nbytes()) * times;
    report.add(name, [&]() -> Case { return {bytes, "GB/s", ours, theirs}; });
  };
  add(
      "layer_norm",
      x,
      2,
      [&] { return nn::layer_norm(x, norm, 1e-6F); },
      [&] { return mx::fast::layer_norm(x, norm.weight, norm.bias, 1e-6F); });
  add(
      "modulated_layer_norm",
      x,
      2,
      [&] { return nn::modulated_layer_norm(x, scale, scale, 1e-6F); },
      [&] { return mlx_modulated_layer_norm(x, scale); });
  add(
      "rms_norm of heads",
      x,
      2,
      [&] { return nn::rms_norm(heads, weight, 1e-6F); },
      [&] { return mx::fast::rms_norm(heads, weight, 1e-6F); });
  add(
      "rotate_pairs",
      x,
      2,
      [&] { return nn::rotate_pairs(heads, angle, angle); },
      [&] { return mlx_rotate_pairs(heads, angle, angle); });
  add("gelu", wide, 2, [&] { return nn::gelu(wide); }, [&] { return mlx_gelu(wide); });
  add(
      "gelu_tanh",
      wide,
      2,
      [&] { return nn::gelu_tanh(wide); },
      [&] { return mlx_gelu_tanh(wide); });
  add(
      "silu",
      wide,
      2,
      [&] { return nn::silu(wide); },
      [&] { return mx::multiply(wide, mx::sigmoid(wide)); });
  add(
      "gated_add",
      x,
      3,
      [&] { return nn::gated_add(x, scale, y); },
      [&] { return mx::add(x, mx::multiply(scale, y)); });
  add(
      "join_channels",
      wide,
      2,
      [&] { return nn::join_channels({x, wide}); },
      [&] { return mx::concatenate({x, wide}, -1); });
}

void convolutions(const Report& report) {
  struct Size {
    int side;
    int in;
    int out;
  };
  for (const Size& size : {Size{64, 512, 512}, {128, 512, 512}, {256, 512, 256}, {512, 256, 128}}) {
    const std::string name = fmt::format("conv2d {}^2, {} -> {}", size.side, size.in, size.out);
    report.add(name, [&]() -> Case {
      const mx::array x = values({1, size.side, size.side, size.in});
      const Conv conv{.weight = values({size.out, 3, 3, size.in})};
      const nn::Conv2dOptions options{.height_padding = {1, 1}, .width_padding = {1, 1}};
      return {
          18.0 * size.side * size.side * size.in * size.out,
          "GFLOP/s",
          [=] { return nn::conv2d(x, conv, options); },
          [=] { return mx::conv2d(x, conv.weight, {1, 1}, {1, 1}); }};
    });
  }
}

mx::array mlx_group_norm(const mx::array& x) {
  const mx::array y = mx::reshape(x, {1, x.shape(1) * x.shape(2), 32, x.shape(3) / 32});
  const mx::array centered = mx::subtract(y, mx::mean(y, {1, 3}, true));
  return mx::multiply(centered, mx::rsqrt(mx::var(y, {1, 3}, true)));
}

void images(const Report& report) {
  report.add("group_norm 512^2 x 128", []() -> Case {
    const mx::array x = values({1, 512, 512, 128});
    const Norm norm{.weight = values({128}), .bias = values({128})};
    return {
        static_cast<double>(x.nbytes()) * 3,
        "GB/s",
        [=] { return nn::group_norm(x, norm, 32, 1e-6F); },
        [=] { return mlx_group_norm(x); }};
  });
  report.add("upsample_nearest 256^2 x 256", []() -> Case {
    const mx::array x = values({1, 256, 256, 256});
    return {
        static_cast<double>(x.nbytes()) * 5,
        "GB/s",
        [=] { return nn::upsample_nearest(x); },
        [=] { return mx::repeat(mx::repeat(x, 2, 1), 2, 2); }};
  });
}

// Forty blocks of a transformer at once: how far the peak is above what one block holds.
void chain() {
  constexpr int kTokens = 512;
  constexpr int kWidth = 1024;
  const Linear qkv = packed(3 * kWidth, kWidth, 8);
  const Linear out = packed(kWidth, kWidth, 8);
  const Linear up = packed(4 * kWidth, kWidth, 8);
  const Linear down = packed(kWidth, 4 * kWidth, 8);
  const mx::array scale = values({1, 1, kWidth});
  mx::array x = values({1, kTokens, kWidth});
  const size_t before = mx::get_active_memory();
  mx::reset_peak_memory();
  for (int i = 0; i < 40; ++i) {
    const mx::array normed = nn::modulated_layer_norm(x, scale, scale, 1e-6F);
    const mx::array joint = mx::reshape(nn::linear(normed, qkv), {1, kTokens, 24, kWidth / 8});
    std::vector<mx::array> parts = mx::split(mx::transpose(joint, {0, 2, 1, 3}), 3, 1);
    const mx::array y = nn::attention(parts[0], parts[1], parts[2], 0.088F);
    const mx::array rows = mx::reshape(mx::transpose(y, {0, 2, 1, 3}), {1, kTokens, kWidth});
    x = nn::gated_add(x, scale, nn::linear(rows, out));
    const mx::array hidden = nn::linear(nn::modulated_layer_norm(x, scale, scale, 1e-6F), up);
    x = nn::gated_add(x, scale, nn::linear(nn::gelu(hidden), down));
  }
  mx::eval(x);
  fmt::print(
      "40 blocks, activations of {} KiB: peak {} KiB above the weights\n",
      x.nbytes() >> 10,
      (mx::get_peak_memory() - before) >> 10);
}

}  // namespace
}  // namespace mflux

int main(int argc, char** argv) {
  mlx::core::set_default_device(mlx::core::Device::cpu);
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  if (wanted == "chain") {
    mflux::chain();
    return 0;
  }
  const mflux::Report report(wanted);
  mflux::linears(report);
  mflux::attentions(report);
  mflux::rows(report);
  mflux::convolutions(report);
  mflux::images(report);
  return 0;
}
