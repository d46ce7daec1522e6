// SPDX-License-Identifier: MIT
// A convolution is a product of matrices: what each output sees of the image is written out as a
// row (im2col), up to 512 outputs or four megabytes at a time and thread, and multiplied with the
// weights [outputs, kernel * channels]. A 1 x 1 convolution is multiplied where it lies.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/nn/cpu/gemm.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"
#include "mflux/nn/cpu/rows.h"
#include "mflux/nn/cpu/scratch.h"

namespace mflux::nn::cpu {
namespace {

// What a tile of outputs sees of the image is written out as a matrix of about so many floats.
constexpr size_t kPatchFloats = size_t{1} << 20;
constexpr size_t kMostPixels = 512;

struct Window {
  int64_t in_height;
  int64_t in_width;
  int64_t out_height;
  int64_t out_width;
  int64_t kernel_height;
  int64_t kernel_width;
  int64_t channels;
  int64_t stride;
  int64_t top;   // rows of zeros above the image
  int64_t left;  // columns of zeros before it

  size_t patch() const { return static_cast<size_t>(kernel_height * kernel_width * channels); }
  // Is what an output sees one input pixel, the same?
  bool is_pixel() const {
    return kernel_height == 1 && kernel_width == 1 && stride == 1 && top == 0 && left == 0 &&
           out_height == in_height && out_width == in_width;
  }
};

// What output `pixel` (of all images) sees: [kernel_height, kernel_width, channels].
void copy_patch(const Window& w, const float* x, size_t pixel, float* out) {
  const auto number = static_cast<int64_t>(pixel);
  const int64_t column = number % w.out_width * w.stride - w.left;
  const int64_t line = number / w.out_width % w.out_height * w.stride - w.top;
  const int64_t image = number / w.out_width / w.out_height;
  const int64_t row_floats = w.kernel_width * w.channels;
  // The columns inside the image: neighbours in memory, so one copy for each row.
  const int64_t begin = std::clamp<int64_t>(-column, 0, w.kernel_width);
  const int64_t end = std::clamp<int64_t>(w.in_width - column, begin, w.kernel_width);
  for (int64_t i = 0; i < w.kernel_height; ++i, out += row_floats) {
    const int64_t y = line + i;
    if (y < 0 || y >= w.in_height || begin == end) {
      std::fill_n(out, row_floats, 0.0F);
      continue;
    }
    const float* from = x + ((image * w.in_height + y) * w.in_width + column + begin) * w.channels;
    std::fill_n(out, begin * w.channels, 0.0F);
    std::copy_n(from, (end - begin) * w.channels, out + begin * w.channels);
    std::fill_n(out + end * w.channels, (w.kernel_width - end) * w.channels, 0.0F);
  }
}

// x and weight in order, bias or null; out: `pixels` rows of `outputs` values.
struct ConvArrays {
  const float* x;
  const float* weight;
  const float* bias;
  size_t outputs;
  size_t pixels;
};

void convolve(const Window& window, const ConvArrays& arrays, float* out) {
  const size_t patch = window.patch();
  const size_t outputs = arrays.outputs;
  const size_t tile = std::clamp<size_t>(kPatchFloats / patch / 16 * 16, 16, kMostPixels);
  tbb::parallel_for(size_t{0}, (arrays.pixels + tile - 1) / tile, [&](size_t task) {
    const size_t first = task * tile;
    const size_t count = std::min(tile, arrays.pixels - first);
    float* result = out + first * outputs;
    for (size_t i = 0; i < count; ++i) {
      if (arrays.bias != nullptr) {
        std::copy_n(arrays.bias, outputs, result + i * outputs);
      } else {
        std::fill_n(result + i * outputs, outputs, 0.0F);
      }
    }
    const Scratch patches(window.is_pixel() ? 0 : count * patch);
    const float* seen = arrays.x + first * patch;
    if (!window.is_pixel()) {
      for (size_t i = 0; i < count; ++i) {
        copy_patch(window, arrays.x, first + i, patches.data() + i * patch);
      }
      seen = patches.data();
    }
    multiply_transposed(
        {.m = count, .n = outputs, .k = patch, .accumulate = true},
        {seen, patch},
        {arrays.weight, patch},
        result,
        outputs);
  });
}

}  // namespace

mx::array conv2d(const mx::array& x, const Conv& conv, const Conv2dOptions& options) {
  const mx::array& weight = conv.weight;
  const auto outputs = [&](int axis, const std::array<int, 2>& padding) {
    const int size = x.shape(axis) + padding[0] + padding[1];
    return (size - weight.shape(axis)) / options.stride + 1;
  };
  const mx::Shape shape = {
      x.shape(0),
      outputs(1, options.height_padding),
      outputs(2, options.width_padding),
      weight.shape(0)};
  const Window window{
      .in_height = x.shape(1),
      .in_width = x.shape(2),
      .out_height = shape[1],
      .out_width = shape[2],
      .kernel_height = weight.shape(1),
      .kernel_width = weight.shape(2),
      .channels = weight.shape(3),
      .stride = options.stride,
      .top = options.height_padding[0],
      .left = options.width_padding[0]};
  std::vector<mx::array> inputs = {mx::astype(x, mx::float32), mx::astype(weight, mx::float32)};
  if (conv.bias) inputs.push_back(mx::astype(*conv.bias, mx::float32));
  const auto compute = [window](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Packed image(arrays[0]);
    const Packed weights(arrays[1]);
    std::optional<Packed> bias;
    if (arrays.size() > 2) bias.emplace(arrays[2]);
    const auto channels = static_cast<size_t>(arrays[1].shape(0));
    convolve(
        window,
        {image.floats(),
         weights.floats(),
         bias ? bias->floats() : nullptr,
         channels,
         out.size() / channels},
        out.data());
  };
  return operation("Conv2d", shape, std::move(inputs), compute);
}

mx::array upsample_nearest(const mx::array& x) {
  const mx::Shape shape = {x.shape(0), 2 * x.shape(1), 2 * x.shape(2), x.shape(3)};
  const auto compute = [](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Packed packed(arrays[0]);
    const auto width = static_cast<size_t>(arrays[0].shape(2));
    const auto channels = static_cast<size_t>(arrays[0].shape(3));
    const size_t line = 2 * width * channels;  // of the result
    each_rows(out.size() / (2 * line), 2 * line, [&](size_t begin, size_t end) {
      for (size_t row = begin; row < end; ++row) {
        const float* from = packed.floats() + row * width * channels;
        float* to = out.data() + row * 2 * line;
        for (size_t i = 0; i < width; ++i, from += channels) {
          std::copy_n(from, channels, to + 2 * i * channels);
          std::copy_n(from, channels, to + (2 * i + 1) * channels);
        }
        std::copy_n(to, line, to + line);
      }
    });
  };
  return operation("UpsampleNearest", shape, {mx::astype(x, mx::float32)}, compute);
}

}  // namespace mflux::nn::cpu
