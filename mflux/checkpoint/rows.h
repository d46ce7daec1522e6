// SPDX-License-Identifier: MIT
// Stored rows of a logical tensor as float32.
#pragma once

#include <cstddef>
#include <span>

#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// The stored bytes of some rows; scales and biases empty unless packed.
struct StoredRows {
  std::span<const std::byte> weight = {};
  std::span<const std::byte> scales = {};
  std::span<const std::byte> biases = {};

  StoredRows rows(uint64_t begin, uint64_t count, uint64_t total) const;  // some of `total` rows
};

// out: as many floats as the rows have elements.
void decode_rows(const LogicalTensor& tensor, StoredRows stored, std::span<float> out);

// Rows of a stored tensor, read from its file. out: rows x the row's elements.
void read_source_rows(
    const Component& component,
    const LogicalTensor& source,
    uint64_t first_row,
    uint64_t rows,
    std::span<float> out);

// Rows of a tensor in another naming, gathered from the files. out: rows x the row's elements.
void read_mapped_rows(
    const Component& component,
    const models::MappedTensor& tensor,
    uint64_t first_row,
    uint64_t rows,
    std::span<float> out);

}  // namespace mflux
