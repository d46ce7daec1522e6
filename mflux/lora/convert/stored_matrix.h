// SPDX-License-Identifier: MIT
// Matrices as bytes of their stored dtype, to be cut and put together without touching a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mflux/base/joined_files.h"
#include "mflux/base/tensor.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct StoredMatrix {
  Dtype dtype = Dtype::f32;
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::vector<std::byte> data = {};  // row after row

  static StoredMatrix zeros(Dtype dtype, uint64_t rows, uint64_t columns);
  std::span<std::byte> at(uint64_t row, uint64_t column, uint64_t count);
  std::span<const std::byte> at(uint64_t row, uint64_t column, uint64_t count) const;
  bool operator==(const StoredMatrix&) const = default;
};

// A tensor of a file. A vector has one column; dimensions of size 1 behind the first two,
// and of more than two all behind the first, make up the columns. `transposed`: the other way
// round.
StoredMatrix read_matrix(
    const safetensors::TensorInfo& info, const JoinedFiles& file, bool transposed = false);

StoredMatrix rows_of(const StoredMatrix& matrix, uint64_t begin, uint64_t count);
StoredMatrix columns_of(const StoredMatrix& matrix, std::span<const uint64_t> columns);
StoredMatrix rows_at(const StoredMatrix& matrix, std::span<const uint64_t> rows);

// The numbers of the columns that hold anything but zeros.
std::vector<uint64_t> used_columns(const StoredMatrix& matrix);

// Is every value times `factor` a value of the dtype, so that it can be stored without rounding.
bool scales_exactly(const StoredMatrix& matrix, double factor);

// Puts `matrix` times `factor` at a place in `into`, in the dtype of `into`, which is the same, or
// F32 or F64. The product is taken in double and rounded once.
void put(
    const StoredMatrix& matrix, double factor, uint64_t row, uint64_t column, StoredMatrix& into);

// The narrower of the dtypes that hold all values of both.
Dtype common_dtype(Dtype a, Dtype b);

}  // namespace mflux::lora
