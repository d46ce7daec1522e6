// SPDX-License-Identifier: MIT
#include "mflux/base/quantization.h"

#include <algorithm>
#include <array>

#include "mflux/base/error.h"

namespace mflux {
namespace {

struct ModeFacts {
  QuantMode mode;
  std::string_view name;
  int bits;        // the default
  int group_size;  // the default
};

// https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
constexpr std::array<ModeFacts, 4> kModes = {{
    {QuantMode::affine, "affine", 8, 64},
    {QuantMode::mxfp4, "mxfp4", 4, 32},
    {QuantMode::mxfp8, "mxfp8", 8, 32},
    {QuantMode::nvfp4, "nvfp4", 4, 16},
}};
constexpr std::array<int, 6> kAffineBits = {2, 3, 4, 5, 6, 8};

const ModeFacts& facts(QuantMode mode) {
  return kModes.at(static_cast<size_t>(mode));
}

template <size_t N>
bool contains(const std::array<int, N>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

std::string_view quant_mode_name(QuantMode mode) {
  return facts(mode).name;
}

std::optional<QuantMode> parse_quant_mode(std::string_view name) {
  for (const ModeFacts& f : kModes) {
    if (f.name == name) return f.mode;
  }
  return std::nullopt;
}

bool QuantFormat::fits(uint64_t columns) const {
  return columns != 0 && columns % static_cast<uint64_t>(group_size) == 0;
}

uint64_t QuantFormat::packed_columns(uint64_t columns) const {
  return columns * static_cast<uint64_t>(bits) / 32;
}

uint64_t QuantFormat::groups(uint64_t columns) const {
  return columns / static_cast<uint64_t>(group_size);
}

uint64_t PackedSpecs::bytes() const {
  return weight.bytes() + scales.bytes() + (biases ? biases->bytes() : 0);
}

PackedSpecs packed_specs(const QuantFormat& format, const TensorSpec& matrix) {
  const uint64_t rows = matrix.rows();
  const uint64_t columns = matrix.row_elements();
  const Dtype scale_dtype = format.has_biases() ? matrix.dtype : Dtype::u8;
  PackedSpecs specs{
      .weight = {Dtype::u32, {rows, format.packed_columns(columns)}},
      .scales = {scale_dtype, {rows, format.groups(columns)}}};
  if (format.has_biases()) specs.biases = specs.scales;
  return specs;
}

QuantFormat make_quant_format(QuantMode mode, std::optional<int> bits, std::optional<int> group) {
  const ModeFacts& f = facts(mode);
  const QuantFormat format{
      .mode = mode, .bits = bits.value_or(f.bits), .group_size = group.value_or(f.group_size)};
  if (mode != QuantMode::affine) {
    if (format.bits != f.bits || format.group_size != f.group_size) {
      fail(
          ErrorKind::usage,
          "{} is always {} bits with a group of {}; {} bits and group {} were asked for",
          f.name,
          f.bits,
          f.group_size,
          format.bits,
          format.group_size);
    }
    return format;
  }
  if (!contains(kAffineBits, format.bits)) {
    fail(ErrorKind::usage, "cannot quantize to {} bits; choose 2, 3, 4, 5, 6 or 8", format.bits);
  }
  if (!contains(kAffineGroups, format.group_size)) {
    fail(ErrorKind::usage, "group size {} is not one of 32, 64, 128", format.group_size);
  }
  return format;
}

std::optional<QuantFormat> affine_format(uint64_t packed_columns, uint64_t groups, int group_size) {
  for (const int bits : kAffineBits) {
    uint64_t weights = 0;
    const auto group_bits = static_cast<uint64_t>(group_size) * static_cast<uint64_t>(bits);
    if (__builtin_mul_overflow(groups, group_bits, &weights)) break;
    if (groups != 0 && weights % 32 == 0 && weights / 32 == packed_columns) {
      return QuantFormat{.mode = QuantMode::affine, .bits = bits, .group_size = group_size};
    }
  }
  return std::nullopt;
}

std::optional<QuantFormat> likely_format(uint64_t packed_columns, uint64_t groups) {
  for (const int size : kAffineGroups) {
    if (const auto format = affine_format(packed_columns, groups, size)) return format;
  }
  return std::nullopt;
}

std::string to_string(const QuantFormat& format) {
  return fmt::format(
      "{}-bit {}, group {}", format.bits, quant_mode_name(format.mode), format.group_size);
}

}  // namespace mflux
