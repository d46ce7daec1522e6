// SPDX-License-Identifier: MIT
#include "mflux/lora/convert/stored_matrix.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "mflux/kernels/convert.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

std::vector<double> doubles(Dtype dtype, std::span<const std::byte> data, double factor) {
  std::vector<double> values(data.size() / dtype_bytes(dtype));
  if (dtype == Dtype::f64) {
    std::memcpy(values.data(), data.data(), data.size());
  } else {
    std::vector<float> floats(values.size());
    kernels::to_float32(dtype, data, floats);
    std::ranges::copy(floats, values.begin());
  }
  for (double& value : values) value *= factor;
  return values;
}

bool can_be_written(Dtype dtype) {
  return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16;
}

}  // namespace

StoredMatrix StoredMatrix::zeros(Dtype dtype, uint64_t rows, uint64_t columns) {
  return {dtype, rows, columns, std::vector<std::byte>(rows * columns * dtype_bytes(dtype))};
}

std::span<std::byte> StoredMatrix::at(uint64_t row, uint64_t column, uint64_t count) {
  const uint64_t size = dtype_bytes(dtype);
  return std::span(data).subspan((row * columns + column) * size, count * size);
}

std::span<const std::byte> StoredMatrix::at(uint64_t row, uint64_t column, uint64_t count) const {
  const uint64_t size = dtype_bytes(dtype);
  return std::span(data).subspan((row * columns + column) * size, count * size);
}

StoredMatrix read_matrix(
    const safetensors::TensorInfo& info, const JoinedFiles& file, bool transposed) {
  StoredMatrix matrix =
      StoredMatrix::zeros(info.spec.dtype, info.spec.rows(), info.spec.row_elements());
  file.read(info.offset, matrix.data);
  if (!transposed) return matrix;
  StoredMatrix other = StoredMatrix::zeros(matrix.dtype, matrix.columns, matrix.rows);
  for (uint64_t i = 0; i < matrix.rows; ++i) {
    for (uint64_t j = 0; j < matrix.columns; ++j) {
      std::ranges::copy(std::as_const(matrix).at(i, j, 1), other.at(j, i, 1).begin());
    }
  }
  return other;
}

StoredMatrix rows_of(const StoredMatrix& matrix, uint64_t begin, uint64_t count) {
  const auto bytes = matrix.at(begin, 0, count * matrix.columns);
  return {matrix.dtype, count, matrix.columns, {bytes.begin(), bytes.end()}};
}

StoredMatrix rows_at(const StoredMatrix& matrix, std::span<const uint64_t> rows) {
  StoredMatrix result = StoredMatrix::zeros(matrix.dtype, rows.size(), matrix.columns);
  for (uint64_t i = 0; i < rows.size(); ++i) {
    std::ranges::copy(
        matrix.at(rows[i], 0, matrix.columns), result.at(i, 0, matrix.columns).begin());
  }
  return result;
}

StoredMatrix columns_of(const StoredMatrix& matrix, std::span<const uint64_t> columns) {
  StoredMatrix result = StoredMatrix::zeros(matrix.dtype, matrix.rows, columns.size());
  for (uint64_t i = 0; i < matrix.rows; ++i) {
    for (uint64_t j = 0; j < columns.size(); ++j) {
      std::ranges::copy(matrix.at(i, columns[j], 1), result.at(i, j, 1).begin());
    }
  }
  return result;
}

std::vector<uint64_t> used_columns(const StoredMatrix& matrix) {
  std::vector<bool> used(matrix.columns);
  for (uint64_t i = 0; i < matrix.rows; ++i) {
    const auto row = doubles(matrix.dtype, matrix.at(i, 0, matrix.columns), 1);
    for (uint64_t j = 0; j < matrix.columns; ++j) used[j] = used[j] || row[j] != 0;
  }
  std::vector<uint64_t> columns;
  for (uint64_t j = 0; j < matrix.columns; ++j) {
    if (used[j]) columns.push_back(j);
  }
  return columns;
}

bool scales_exactly(const StoredMatrix& matrix, double factor) {
  if (factor == 1) return true;
  if (!can_be_written(matrix.dtype)) return false;
  const std::vector<double> values = doubles(matrix.dtype, matrix.data, factor);
  std::vector<float> floats(values.size());
  std::ranges::transform(values, floats.begin(), [](double v) { return static_cast<float>(v); });
  std::vector<std::byte> stored(matrix.data.size());
  kernels::from_float32(floats, matrix.dtype, stored);
  return doubles(matrix.dtype, stored, 1) == values;
}

void put(
    const StoredMatrix& matrix, double factor, uint64_t row, uint64_t column, StoredMatrix& into) {
  for (uint64_t i = 0; i < matrix.rows; ++i) {
    const auto from = matrix.at(i, 0, matrix.columns);
    const auto to = into.at(row + i, column, matrix.columns);
    if (matrix.dtype == into.dtype && factor == 1) {
      std::ranges::copy(from, to.begin());
      continue;
    }
    const std::vector<double> values = doubles(matrix.dtype, from, factor);
    if (into.dtype == Dtype::f64) {
      std::memcpy(to.data(), values.data(), to.size());
      continue;
    }
    std::vector<float> floats(values.size());
    std::ranges::transform(values, floats.begin(), [](double v) { return static_cast<float>(v); });
    kernels::from_float32(floats, into.dtype, to);
  }
}

Dtype common_dtype(Dtype a, Dtype b) {
  if (a == b) return a;
  return a == Dtype::f64 || b == Dtype::f64 ? Dtype::f64 : Dtype::f32;
}

}  // namespace mflux::lora
