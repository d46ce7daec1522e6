// SPDX-License-Identifier: MIT
// What the quantizers of quantize.h read and write, whatever the format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mflux::kernels {

// How a weight came to be float32.
enum class Rounding : uint8_t {
  // It is stored as it came, in `dtype`: the result is what mx.quantize gives for that array.
  // Affine
  // codes are rounded against scales and biases in float32; the fp modes calculate in `dtype`, as
  // MLX's CPU backend does.
  exact_scales,
  // It is a float32 sum (a baked weight): affine codes are rounded against the scales and biases
  // that are written, cast to `dtype` (as Python's mflux 0.24 bakes); the fp modes calculate in
  // float32.
  stored_scales,
};

// Sizes as in base/quantization.h; biases are empty where the format has none.
struct PackedRows {
  std::span<std::byte> packed;
  std::span<std::byte> scales;
  std::span<std::byte> biases;
};

struct ConstPackedRows {
  std::span<const std::byte> packed;
  std::span<const std::byte> scales;
  std::span<const std::byte> biases;
};

}  // namespace mflux::kernels
