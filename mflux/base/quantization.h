// SPDX-License-Identifier: MIT
// The packed formats of MLX: what a quantized matrix [rows, columns] looks like on disk.
//
//   X.weight  U32, [rows, columns * bits / 32]: codes, a little-endian bit stream along the row
//   X.scales  [rows, columns / group_size]; affine: the model's float dtype; fp modes: U8
//   X.biases  as the scales, affine only
//
// Scales of mxfp4 and mxfp8 are E8M0 (powers of two), those of nvfp4 E4M3.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mflux/base/tensor.h"

namespace mflux {

enum class QuantMode : uint8_t { affine, mxfp4, mxfp8, nvfp4 };

std::string_view quant_mode_name(QuantMode mode);
std::optional<QuantMode> parse_quant_mode(std::string_view name);

struct QuantFormat {
  QuantMode mode = QuantMode::affine;
  int bits = 8;         // affine: 2, 3, 4, 5, 6, 8; the fp modes fix it
  int group_size = 64;  // weights per scale along a row; affine: 32, 64, 128; the fp modes fix it

  bool operator==(const QuantFormat&) const = default;
  bool has_biases() const { return mode == QuantMode::affine; }
  bool fits(uint64_t columns) const;  // is `columns` a whole number of groups and words
  uint64_t packed_columns(uint64_t columns) const;  // uint32 words in a row
  uint64_t groups(uint64_t columns) const;          // scales in a row
};

// The stored parts of a packed matrix.
struct PackedSpecs {
  TensorSpec weight = {};
  TensorSpec scales = {};
  std::optional<TensorSpec> biases = {};

  uint64_t bytes() const;  // of all parts
};
// `matrix`: unpacked, two dimensions, in the model's float dtype.
PackedSpecs packed_specs(const QuantFormat& format, const TensorSpec& matrix);

// The format that MLX knows for these numbers, or a usage Error that lists what is possible.
// bits / group_size = none: the mode's own (affine: 8 and 64).
QuantFormat make_quant_format(
    QuantMode mode, std::optional<int> bits, std::optional<int> group_size);

constexpr std::array<int, 3> kAffineGroups = {64, 32, 128};  // the most usual first

// The affine format of a matrix with `packed_columns` words of codes and `groups` scales a row;
// none if no number of bits gives those.
std::optional<QuantFormat> affine_format(uint64_t packed_columns, uint64_t groups, int group_size);

// The same where the group size is not known: the most usual one that fits, 64, 32 or 128.
std::optional<QuantFormat> likely_format(uint64_t packed_columns, uint64_t groups);

std::string to_string(const QuantFormat& format);  // "8-bit affine, group 64"

}  // namespace mflux
