// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"

namespace mflux::nn::testing {
namespace {

constexpr double kTolerance = 2e-6;
constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

using Function = mx::array (*)(const mx::array&);

struct Activation {
  const char* name;
  Function function;
  double (*definition)(double);
};

constexpr Activation kActivations[] = {
    {"gelu", gelu, [](double x) { return x / 2 * std::erfc(-x / std::sqrt(2.0)); }},
    {"gelu_tanh",
     gelu_tanh,
     [](double x) {
       const double inner = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
       return x / (1 + std::exp(-2 * inner));
     }},
    {"quick_gelu", quick_gelu, [](double x) { return x / (1 + std::exp(-1.702 * x)); }},
    {"silu", silu, [](double x) { return x / (1 + std::exp(-x)); }}};

std::vector<float> many_values() {
  std::vector<float> values = {0.0F, -0.0F, 1e-30F, -1e-30F, 200.0F, -200.0F, 1e30F, -1e30F};
  for (int i = -20000; i <= 20000; ++i) values.push_back(static_cast<float>(i) * 0.00077F);
  return values;
}

TEST_CASE_FIXTURE(Seeded, "activations of the CPU are their definitions to float32's rounding") {
  const std::vector<float> values = many_values();
  const auto count = static_cast<int>(values.size());
  for (const Activation& activation : kActivations) {
    CAPTURE(activation.name);
    kernels::testing::for_each_target([&] {
      const mx::array y = activation.function(mx::array(values.data(), {count}));
      mx::eval(y);
      double worst = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const double expected = activation.definition(double{values[i]});
        const double error = std::fabs(double{y.data<float>()[i]} - expected);
        // To the last places of the result, or, where that is tiny, of float32's arguments.
        const double size =
            std::fabs(expected) + 1e-2 * std::min(1.0, std::fabs(double{values[i]}));
        worst = std::max(worst, size == 0 ? error : error / size);
      }
      CHECK(worst < 1e-6);
    });
  }
}

TEST_CASE_FIXTURE(Seeded, "activations of the CPU keep NaN, and do not depend on a value's place") {
  const mx::array x = mx::random::normal({3, 37});
  for (const Activation& activation : kActivations) {
    CAPTURE(activation.name);
    kernels::testing::for_each_target([&] {
      const mx::array whole = activation.function(x);
      const mx::array part = activation.function(mx::slice(x, {1, 5}, {3, 14}));
      CHECK(mx::array_equal(part, mx::slice(whole, {1, 5}, {3, 14})).item<bool>());
      const mx::array turned = activation.function(mx::transpose(x));
      CHECK(mx::array_equal(mx::transpose(turned), whole).item<bool>());
      const mx::array none = activation.function(mx::full({19}, static_cast<float>(kNoNumber)));
      CHECK(mx::all(mx::isnan(none)).item<bool>());
    });
  }
}

mx::array normalized(const mx::array& x, const std::vector<int>& axes, double eps) {
  const mx::array centered = mx::subtract(x, mx::mean(x, axes, true));
  const mx::array variance = mx::mean(mx::square(centered), axes, true);
  return mx::divide(centered, mx::sqrt(mx::add(variance, mx::array(eps, mx::float64))));
}

// With a mean, so that careless variances are wrong.
mx::array activations(const mx::Shape& shape) {
  const mx::array x = mx::random::normal(shape, mx::float32, 8.0F, 1.5F);
  mx::eval(x);
  return x;
}

TEST_CASE_FIXTURE(Seeded, "layer norms of the CPU are their definition") {
  for (const mx::Shape& shape : {mx::Shape{1, 1, 1}, {2, 3, 5}, {1, 77, 768}, {3, 10, 130}}) {
    const int width = shape.back();
    const mx::array x = activations(shape);
    const mx::array base = normalized(wide(x), {-1}, 1e-6);
    const mx::array scale = mx::random::normal({shape[0], 1, width});
    const mx::array shift = mx::random::normal({shape[0], 1, width});
    const mx::array one = mx::array(1.0, mx::float64);
    check_operation(
        [&] { return modulated_layer_norm(x, scale, shift, 1e-6F); },
        mx::add(mx::multiply(base, mx::add(wide(scale), one)), wide(shift)),
        kTolerance);
    Norm norm{.weight = mx::astype(mx::random::normal({width}), mx::bfloat16)};
    const mx::array weighted = mx::multiply(base, wide(norm.weight));
    check_operation([&] { return layer_norm(x, norm, 1e-6F); }, weighted, kTolerance);
    norm.bias = mx::random::normal({width});
    check_operation(
        [&] { return layer_norm(x, norm, 1e-6F); },
        mx::add(weighted, wide(*norm.bias)),
        kTolerance);
  }
}

TEST_CASE_FIXTURE(Seeded, "the CPU's RMS norm is its definition, in any layout") {
  const mx::array x = activations({2, 5, 3, 64});
  const mx::array weight = mx::astype(mx::random::normal({64}), mx::bfloat16);
  const auto expected = [&](const mx::array& y) {
    const mx::array mean = mx::mean(mx::square(wide(y)), -1, true);
    const mx::array factor = mx::rsqrt(mx::add(mean, mx::array(1e-6, mx::float64)));
    return mx::multiply(mx::multiply(wide(y), factor), wide(weight));
  };
  const mx::array turned = mx::transpose(x, {0, 2, 1, 3});
  check_operation([&] { return rms_norm(x, weight, 1e-6F); }, expected(x), kTolerance);
  check_operation([&] { return rms_norm(turned, weight, 1e-6F); }, expected(turned), kTolerance);
}

TEST_CASE_FIXTURE(Seeded, "the CPU's group norm is its definition, for images of any size") {
  for (const mx::Shape& shape : {mx::Shape{1, 1, 1, 4}, {2, 9, 7, 12}, {1, 70, 130, 8}}) {
    const int channels = shape.back();
    for (const int groups : {1, 2, channels}) {
      if (shape[1] == 1 && groups == channels) continue;  // one value has no variance
      const mx::array x = activations(shape);
      const mx::array grouped =
          mx::reshape(wide(x), {shape[0], shape[1] * shape[2], groups, channels / groups});
      const mx::array base = mx::reshape(normalized(grouped, {1, 3}, 1e-6), shape);
      Norm norm{.weight = mx::random::normal({channels}), .bias = mx::random::normal({channels})};
      check_operation(
          [&] { return group_norm(x, norm, groups, 1e-6F); },
          mx::add(mx::multiply(base, wide(norm.weight)), wide(*norm.bias)),
          kTolerance);
    }
  }
}

TEST_CASE_FIXTURE(Seeded, "the CPU's rotations are their definition") {
  for (const int half : {1, 9, 64}) {
    const mx::array x = mx::transpose(activations({2, 7, 3, 2 * half}), {0, 2, 1, 3});
    const mx::array angle = mx::random::normal({7, half});
    const mx::array cos = mx::cos(angle);
    const mx::array sin = mx::sin(angle);
    const auto rotated = [&](const mx::array& a, const mx::array& b) {
      return std::vector<mx::array>{
          mx::subtract(mx::multiply(a, wide(cos)), mx::multiply(b, wide(sin))),
          mx::add(mx::multiply(b, wide(cos)), mx::multiply(a, wide(sin)))};
    };
    const mx::Shape stops = {2, 3, 7, 2 * half};
    const mx::array even = mx::slice(wide(x), {0, 0, 0, 0}, stops, {1, 1, 1, 2});
    const mx::array odd = mx::slice(wide(x), {0, 0, 0, 1}, stops, {1, 1, 1, 2});
    check_operation(
        [&] { return rotate_pairs(x, cos, sin); },
        mx::reshape(mx::stack(rotated(even, odd), -1), stops),
        kTolerance);
    const std::vector<mx::array> halves = mx::split(wide(x), 2, -1);
    check_operation(
        [&] { return rotate_halves(x, cos, sin); },
        mx::concatenate(rotated(halves[0], halves[1]), -1),
        kTolerance);
  }
}

TEST_CASE_FIXTURE(Seeded, "adding through a gate is its definition") {
  const mx::array x = activations({2, 5, 33});
  const mx::array y = mx::transpose(activations({2, 33, 5}), {0, 2, 1});
  for (const mx::Shape& shape : {mx::Shape{2, 1, 33}, {33}, {1, 1, 1}, {2, 5, 33}}) {
    const mx::array gate = mx::random::normal(shape);
    check_operation(
        [&] { return gated_add(x, gate, y); },
        mx::add(wide(x), mx::multiply(wide(gate), wide(y))),
        kTolerance);
  }
}

TEST_CASE_FIXTURE(Seeded, "joining channels on the CPU copies every value, from any layout") {
  const mx::array x = activations({2, 5, 33});
  const mx::array y = mx::transpose(activations({2, 7, 5}), {0, 2, 1});
  const mx::array z = mx::slice(activations({2, 9, 4}), {0, 0, 1}, {2, 9, 3}, {1, 2, 1});
  check_operation(
      [&] { return join_channels({x, y, z}); },
      mx::concatenate({wide(x), wide(y), wide(z)}, -1),
      0);
}

}  // namespace
}  // namespace mflux::nn::testing
