// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <utility>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/cpu/bfloat16.h"
#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"
#include "tests/nn/random_layers.h"
#include "tests/skip.h"

namespace mflux::nn::testing {
namespace {

// Of sums of up to 3,072 products in float32, relative to the largest.
constexpr double kTolerance = 5e-6;
// What rounding to bfloat16 changes of a value, at most.
constexpr double kRounding = 1.0 / 512;

bool is_here() {
  if (cpu::computes_bfloat16()) return true;
  mflux::testing::skip("no AVX-512 here, or no oneDNN");
  return false;
}

mx::array rounded(const mx::array& x) {
  return mx::astype(mx::astype(x, mx::bfloat16), mx::float32);
}

// Side products of LoRAs are those of float32.
mx::array expected_of_rounded(const mx::array& x, const Linear& layer) {
  const mx::array none = mx::zeros({layer.outputs(), layer.inputs()});
  const mx::array product = expected_linear(rounded(x), {.weight = rounded(dense_weight(layer))});
  return mx::add(
      product, expected_linear(x, {.weight = none, .bias = layer.bias, .loras = layer.loras}));
}

// |x| |W|^T: what a relative error of every product is relative to.
mx::array sizes_of_products(const mx::array& x, const Linear& layer) {
  return expected_linear(mx::abs(x), {.weight = mx::abs(dense_weight(layer))});
}

void check_linear(const mx::array& x, Linear layer) {
  layer.products = Products::bfloat16;
  check_operation([&] { return linear(x, layer); }, expected_of_rounded(x, layer), kTolerance);
  const mx::array error = mx::abs(mx::subtract(wide(linear(x, layer)), expected_linear(x, layer)));
  const mx::array share = mx::divide(error, sizes_of_products(x, layer));
  CHECK(mx::max(share).item<double>() <= 2.01 * kRounding);
}

TEST_CASE_FIXTURE(Seeded, "a product in bfloat16 is that of its rounded factors") {
  if (!is_here()) return;
  for (const auto& [outputs, inputs] : {std::pair(1, 32), {17, 64}, {700, 96}, {512, 3072}}) {
    const Linear layer = random_layer(outputs, inputs, mx::bfloat16);
    for (const int rows : {5, 77, 513}) {
      CAPTURE(rows);
      CAPTURE(inputs);
      check_linear(mx::random::normal({rows, inputs}), layer);
    }
  }
}

TEST_CASE_FIXTURE(Seeded, "a product in bfloat16 takes weights packed in every mode") {
  if (!is_here()) return;
  const Linear layer = random_layer(290, 256, mx::bfloat16);
  for (const QuantFormat& format : every_format()) {
    CAPTURE(to_string(format));
    check_linear(mx::random::normal({1, 9, 256}), packed(layer, format));
  }
}

TEST_CASE_FIXTURE(Seeded, "a product in bfloat16 takes LoRAs, and x in any layout") {
  if (!is_here()) return;
  Linear layer = packed(random_layer(300, 128, mx::bfloat16), {});
  layer.loras.push_back(
      {.down = mx::random::normal({16, 128}), .up = mx::random::normal({300, 16})});
  check_linear(mx::random::normal({70, 128}), layer);
  layer.bias.reset();
  check_linear(mx::random::normal({2, 3, 128}), layer);
  const mx::array cube = mx::random::normal({3, 64, 10, 128});
  mx::eval(cube);
  check_linear(mx::slice(cube, {0, 0, 0, 0}, {3, 64, 10, 128}, {1, 2, 3, 1}), layer);
  check_linear(
      mx::transpose(mx::slice(cube, {0, 0, 0, 0}, {3, 64, 10, 64}), {0, 2, 3, 1}),
      random_layer(40, 64, mx::bfloat16));
}

TEST_CASE_FIXTURE(Seeded, "with few rows nothing is rounded, and with many it is") {
  if (!is_here()) return;
  Linear layer = random_layer(300, 96, mx::bfloat16);
  for (const auto& [rows, same] : {std::pair(1, true), {4, true}, {5, false}}) {
    const mx::array x = mx::random::normal({rows, 96});
    layer.products = Products::float32;
    const mx::array exact = linear(x, layer);
    layer.products = Products::bfloat16;
    CHECK(mx::array_equal(linear(x, layer), exact).item<bool>() == same);
  }
}

TEST_CASE_FIXTURE(Seeded, "a product in bfloat16 keeps NaN and infinity") {
  if (!is_here()) return;
  Linear layer = random_layer(300, 64, mx::bfloat16);
  layer.products = Products::bfloat16;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), 3.4e38F}) {
    CHECK(!mx::any(mx::isfinite(linear(mx::full({30, 64}, value), layer))).item<bool>());
  }
}

mx::array attended(const mx::array& q, const mx::array& k, const mx::array& v, bool in_bfloat16) {
  const Products products = in_bfloat16 ? Products::bfloat16 : Products::float32;
  return attention(q, k, v, 0.25F, {}, products);
}

TEST_CASE_FIXTURE(Seeded, "attention in bfloat16 is that of rounded queries, keys and values") {
  if (!is_here()) return;
  const auto heads = [](int count, int tokens, int width) {
    return mx::transpose(mx::random::normal({2, tokens, count, width}), {0, 2, 1, 3});
  };
  for (const auto& [queries, keys] : {std::pair(1, 1), {5, 7}, {257, 1100}}) {
    for (const int width : {16, 40, 128}) {
      CAPTURE(queries);
      CAPTURE(width);
      const mx::array q = heads(6, queries, width);
      const mx::array k = heads(2, keys, width);
      const mx::array v = heads(2, keys, width);
      // The weights of values are rounded too: they add up to 1.
      const mx::array expected = attended(rounded(q), rounded(k), rounded(v), false);
      const double allowed = kRounding * mx::max(mx::abs(v)).item<float>();
      const double largest = mx::max(mx::abs(expected)).item<float>();
      check_operation(
          [&] { return attended(q, k, v, true); }, wide(expected), 1.01 * allowed / largest);
      CHECK((keys == 1 || !mx::array_equal(attended(q, k, v, true), expected).item<bool>()));
    }
  }
}

}  // namespace
}  // namespace mflux::nn::testing
