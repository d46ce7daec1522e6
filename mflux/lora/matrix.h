// SPDX-License-Identifier: MIT
// Matrices as bytes of their stored dtype, to be cut and put together without touching a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct Matrix {
  Dtype dtype = Dtype::f32;
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::vector<std::byte> data = {};  // row after row

  static Matrix zeros(Dtype dtype, uint64_t rows, uint64_t columns);
  std::span<std::byte> at(uint64_t row, uint64_t column, uint64_t count);
  std::span<const std::byte> at(uint64_t row, uint64_t column, uint64_t count) const;
  bool operator==(const Matrix&) const = default;
};

// A tensor of the mapped file. A vector has one column; dimensions of size 1 behind the first two,
// and of more than two all behind the first, make up the columns. `transposed`: the other way
// round.
Matrix read_matrix(
    const safetensors::TensorInfo& info, std::span<const std::byte> file, bool transposed = false);

Matrix rows_of(const Matrix& matrix, uint64_t begin, uint64_t count);
Matrix columns_of(const Matrix& matrix, std::span<const uint64_t> columns);
Matrix rows_at(const Matrix& matrix, std::span<const uint64_t> rows);

// The numbers of the columns that hold anything but zeros.
std::vector<uint64_t> used_columns(const Matrix& matrix);

// Is every value times `factor` a value of the dtype, so that it can be stored without rounding.
bool scales_exactly(const Matrix& matrix, double factor);

// Puts `matrix` times `factor` at a place in `into`, in the dtype of `into`, which is the same, or
// F32 or F64. The product is taken in double and rounded once.
void put(const Matrix& matrix, double factor, uint64_t row, uint64_t column, Matrix& into);

// The narrower of the dtypes that hold all values of both.
Dtype common_dtype(Dtype a, Dtype b);

}  // namespace mflux::lora
