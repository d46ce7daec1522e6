// SPDX-License-Identifier: MIT
#include "mflux/lora/factor.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

constexpr size_t kPieceBytes = 1 << 16;  // read at a time; whole values of every dtype

}  // namespace

std::string_view alpha_source_name(AlphaSource source) {
  switch (source) {
    case AlphaSource::tensor:
      return "tensor";
    case AlphaSource::metadata:
      return "metadata";
    case AlphaSource::adapter_config:
      return "adapter_config.json";
    case AlphaSource::none:
      return "none";
  }
  return "";
}

void read_values(const Factor& factor, uint64_t begin, double scale, std::span<float> out) {
  const Dtype dtype = factor.info->spec.dtype;
  const uint64_t size = dtype_bytes(dtype);
  std::array<std::byte, kPieceBytes> buffer;
  uint64_t offset = factor.info->offset + begin * size;
  while (!out.empty()) {
    const auto values = out.first(std::min<size_t>(out.size(), kPieceBytes / size));
    const auto piece = std::span(buffer).first(values.size() * size);
    factor.file->read(offset, piece);
    read_scaled(dtype, piece, scale, values);
    offset += piece.size();
    out = out.subspan(values.size());
  }
}

std::vector<float> read_factor(const Factor& factor, double scale) {
  std::vector<float> values(factor.rows * factor.columns);
  read_values(factor, 0, scale, values);
  return values;
}

std::vector<float> multiply(
    std::span<const float> left, std::span<const float> right, uint64_t n, uint64_t k, uint64_t m) {
  std::vector<float> result(n * m);
  std::vector<double> sums(m);
  for (uint64_t i = 0; i < n; ++i) {
    std::ranges::fill(sums, 0.0);
    for (uint64_t a = 0; a < k; ++a) {
      const auto factor = static_cast<double>(left[i * k + a]);
      for (uint64_t j = 0; j < m; ++j) sums[j] += factor * static_cast<double>(right[a * m + j]);
    }
    for (uint64_t j = 0; j < m; ++j) result[i * m + j] = static_cast<float>(sums[j]);
  }
  return result;
}

void read_up(
    const Product& product, uint64_t first, uint64_t rows, double scale, std::span<float> out) {
  const Factor& up = product.up;
  const uint64_t width = product.up_flipped ? up.rows : up.columns;
  std::vector<float> values(rows * width);
  if (product.up_flipped) {
    std::vector<float> line(rows);
    for (uint64_t k = 0; k < width; ++k) {
      read_values(up, k * up.columns + first, 1, line);
      for (uint64_t i = 0; i < rows; ++i) values[i * width + k] = line[i];
    }
  } else {
    read_values(up, first * width, 1, values);
  }
  const uint64_t rank = rank_of(product);
  if (!product.core.empty()) {
    values = multiply(values, read_factor(product.core), rows, width, rank);
  }
  for (uint64_t i = 0; i < rows * rank; ++i) {
    out[i] = static_cast<float>(static_cast<double>(values[i]) * scale);
  }
}

uint64_t rank_of(const Product& product) {
  return product.down.empty() ? 0 : product.down.rows;
}

}  // namespace mflux::lora
