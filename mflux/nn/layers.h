// SPDX-License-Identifier: MIT
// A model's layers as values: their weights, nothing else. What is done with them is in ops.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mflux/base/quantization.h"
#include "mflux/nn/mlx.h"

namespace mflux::nn {

// A LoRA at run time: y += (x down^T) up^T. The scale is in `up`; rows it does not reach are zero.
struct LowRankPath {
  mx::array down = mx::array(0.0F);  // [rank, inputs] float32
  mx::array up = mx::array(0.0F);    // [outputs, rank] float32
};

// In what the CPU multiplies; it adds up in float32.
enum class Products : uint8_t {
  float32,
  bfloat16,  // both factors rounded to it; only where has_bfloat16_products() (ops.h)
};

// y = x W^T + b. W is [outputs, inputs] in a float dtype, or packed as MLX packs it.
struct Linear {
  std::string name = {};  // for messages
  mx::array weight = mx::array(0.0F);
  std::optional<QuantFormat> format = {};  // set if packed
  std::optional<mx::array> scales = {};    // [outputs, groups]
  std::optional<mx::array> biases = {};    // affine only
  std::optional<mx::array> bias = {};      // [outputs]
  std::vector<LowRankPath> loras = {};
  Products products = Products::float32;  // of x and W

  int outputs() const { return weight.shape(0); }
  int inputs() const;  // unpacked
};

// Rows are looked up by number. Plain or packed like a Linear.
struct Embedding {
  Linear table = {};  // [rows, width]

  int rows() const { return table.outputs(); }
  int width() const { return table.inputs(); }
};

struct Norm {
  mx::array weight = mx::array(0.0F);  // [channels]
  std::optional<mx::array> bias = {};
};

// Channels last, as MLX has them: weight [out, height, width, in] or [out, time, height, width,
// in].
struct Conv {
  mx::array weight = mx::array(0.0F);
  std::optional<mx::array> bias = {};
};

// How a Conv moves over an image. Zero padding: before and after, of height and width.
struct Conv2dOptions {
  int stride = 1;
  std::array<int, 2> height_padding = {0, 0};
  std::array<int, 2> width_padding = {0, 0};
};

}  // namespace mflux::nn
