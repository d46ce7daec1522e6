// SPDX-License-Identifier: MIT
#include <optional>
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"
#include "tests/nn/random_layers.h"

namespace mflux::nn::testing {
namespace {

constexpr double kTolerance = 2e-6;

void check_linear(const mx::array& x, const Linear& layer) {
  check_operation([&] { return linear(x, layer); }, expected_linear(x, layer), kTolerance);
}

TEST_CASE_FIXTURE(
    Seeded, "linear of the CPU takes weights of every float dtype, and any number of rows") {
  for (const mx::Dtype dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    for (const auto& [outputs, inputs] : {std::pair(1, 1), {7, 33}, {300, 96}, {257, 130}}) {
      const Linear layer = random_layer(outputs, inputs, dtype);
      for (const int rows : {1, 2, 4, 5, 77, 513}) {
        CAPTURE(rows);
        check_linear(mx::random::normal({rows, inputs}), layer);
      }
    }
  }
}

TEST_CASE_FIXTURE(Seeded, "linear of the CPU takes weights packed in every mode") {
  for (const mx::Dtype dtype : {mx::float32, mx::bfloat16, mx::float16}) {
    const Linear layer = random_layer(290, 256, dtype);
    for (const QuantFormat& format : every_format()) {
      CAPTURE(to_string(format));
      for (const int rows : {1, 9}) {
        check_linear(mx::random::normal({1, rows, 256}), packed(layer, format));
      }
    }
  }
}

TEST_CASE_FIXTURE(Seeded, "linear of the CPU adds LoRAs") {
  Linear layer = packed(random_layer(300, 128, mx::bfloat16), {});
  for (const int rank : {1, 16}) {
    layer.loras.push_back(
        {.down = mx::random::normal({rank, 128}), .up = mx::random::normal({300, rank})});
  }
  for (const int rows : {1, 3, 70}) check_linear(mx::random::normal({rows, 128}), layer);
  layer.bias.reset();
  check_linear(mx::random::normal({2, 3, 128}), layer);
}

TEST_CASE_FIXTURE(Seeded, "linear of the CPU takes inputs in any layout") {
  const Linear layer = random_layer(40, 64, mx::bfloat16);
  const mx::array cube = mx::random::normal({3, 64, 10, 64});
  mx::eval(cube);
  check_linear(mx::slice(cube, {0, 0, 0, 0}, {3, 64, 10, 64}, {1, 2, 3, 1}), layer);
  check_linear(mx::transpose(cube, {0, 2, 1, 3}), layer);
  check_linear(mx::transpose(cube, {0, 3, 2, 1}), layer);  // its last axis is strided
  check_linear(mx::broadcast_to(mx::random::normal({1, 64}), {9, 64}), layer);
  const Linear turned{.name = "turned", .weight = mx::transpose(mx::random::normal({64, 50}))};
  check_linear(mx::random::normal({7, 64}), turned);
}

TEST_CASE_FIXTURE(Seeded, "linear of the CPU runs in chains longer than what MLX makes ahead") {
  Linear layer = random_layer(64, 64, mx::float32);
  layer.weight = mx::multiply(layer.weight, mx::array(0.125F));
  const mx::array x = mx::random::normal({5, 64});
  mx::array y = x;
  mx::array expected = wide(x);
  for (int i = 0; i < 200; ++i) {
    y = mx::add(linear(y, layer), x);
    y = mx::divide(y, mx::max(mx::abs(y)));
    expected = mx::add(expected_linear(expected, layer), wide(x));
    expected = mx::divide(expected, mx::max(mx::abs(expected)));
  }
  CHECK(error_of(y, expected) < 1e-3);
}

TEST_CASE_FIXTURE(Seeded, "linear names the layer that takes another width") {
  const Linear layer = random_layer(4, 8, mx::float32);
  CHECK_THROWS_WITH(linear(mx::zeros({2, 9}), layer), "layer: takes 8 channels, got 9");
}

TEST_CASE_FIXTURE(Seeded, "an operation of the CPU keeps NaN") {
  const Linear layer = random_layer(300, 64, mx::float32);
  for (const int rows : {1, 30}) {
    const mx::array x = mx::full({rows, 64}, std::numeric_limits<float>::quiet_NaN());
    CHECK(mx::all(mx::isnan(linear(x, layer))).item<bool>());
  }
}

}  // namespace
}  // namespace mflux::nn::testing
