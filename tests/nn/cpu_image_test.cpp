// SPDX-License-Identifier: MIT
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"

namespace mflux::nn::testing {
namespace {

// By one product for each place of the kernel.
mx::array expected_conv(const mx::array& x, const Conv& conv, const Conv2dOptions& options) {
  const mx::array padded = mx::pad(
      wide(x),
      {{0, 0},
       {options.height_padding[0], options.height_padding[1]},
       {options.width_padding[0], options.width_padding[1]},
       {0, 0}},
      mx::array(0.0, mx::float64));
  const int kernel_height = conv.weight.shape(1);
  const int kernel_width = conv.weight.shape(2);
  const int channels = x.shape(3);
  const int height = (padded.shape(1) - kernel_height) / options.stride + 1;
  const int width = (padded.shape(2) - kernel_width) / options.stride + 1;
  mx::array sum = wide(conv.bias ? *conv.bias : mx::array(0.0F));
  for (int i = 0; i < kernel_height; ++i) {
    for (int j = 0; j < kernel_width; ++j) {
      const mx::array seen = mx::slice(
          padded,
          {0, i, j, 0},
          {x.shape(0),
           i + (height - 1) * options.stride + 1,
           j + (width - 1) * options.stride + 1,
           channels},
          {1, options.stride, options.stride, 1});
      const mx::array place = mx::squeeze(
          mx::slice(
              wide(conv.weight), {0, i, j, 0}, {conv.weight.shape(0), i + 1, j + 1, channels}),
          std::vector<int>{1, 2});
      sum = mx::add(sum, mx::matmul(seen, mx::transpose(place)));
    }
  }
  return sum;
}

void check_conv(const mx::array& x, const Conv& conv, const Conv2dOptions& options) {
  check_operation([&] { return conv2d(x, conv, options); }, expected_conv(x, conv, options), 2e-6);
}

TEST_CASE_FIXTURE(
    Seeded, "convolution of the CPU is its definition for any size, stride and padding") {
  const std::vector<Conv2dOptions> all = {
      {},
      {.height_padding = {1, 1}, .width_padding = {1, 1}},
      {.stride = 2, .height_padding = {0, 1}, .width_padding = {0, 1}},
      {.stride = 3, .height_padding = {2, 0}, .width_padding = {4, 3}}};
  for (const Conv2dOptions& options : all) {
    for (const mx::Shape& kernel : {mx::Shape{5, 3, 3, 4}, {16, 1, 1, 7}, {3, 2, 3, 1}}) {
      for (const mx::Shape& size : {mx::Shape{1, 3}, {4, 3}, {37, 41}}) {
        if (size[0] + options.height_padding[0] + options.height_padding[1] < kernel[1]) continue;
        const mx::array x = mx::random::normal({2, size[0], size[1], kernel.back()});
        Conv conv{.weight = mx::astype(mx::random::normal(kernel), mx::bfloat16)};
        mx::eval(x, conv.weight);
        check_conv(x, conv, options);
        conv.bias = mx::random::normal({kernel[0]});
        check_conv(x, conv, options);
      }
    }
  }
}

TEST_CASE_FIXTURE(Seeded, "convolution of the CPU takes images in any layout") {
  const Conv conv{.weight = mx::random::normal({5, 3, 3, 4})};
  const mx::array planes = mx::random::normal({1, 4, 9, 8});
  check_conv(mx::transpose(planes, {0, 2, 3, 1}), conv, {});
}

TEST_CASE_FIXTURE(Seeded, "convolution of the CPU keeps NaN") {
  const Conv conv{.weight = mx::random::normal({5, 3, 3, 4})};
  const mx::array nan = mx::full({1, 6, 6, 4}, std::numeric_limits<float>::quiet_NaN());
  CHECK(mx::all(mx::isnan(conv2d(nan, conv))).item<bool>());
}

TEST_CASE_FIXTURE(Seeded, "upsampling on the CPU repeats every value") {
  for (const mx::Shape& shape : {mx::Shape{1, 1, 1, 1}, {2, 3, 5, 7}, {1, 40, 33, 16}}) {
    const mx::array x = mx::random::normal(shape);
    mx::eval(x);
    check_operation(
        [&] { return upsample_nearest(x); }, mx::repeat(mx::repeat(wide(x), 2, 1), 2, 2), 0);
  }
}

}  // namespace
}  // namespace mflux::nn::testing
