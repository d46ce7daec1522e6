// SPDX-License-Identifier: MIT
// What an update makes of rows of its target, for all kinds that need no more than a row at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "mflux/lora/update.h"

namespace mflux::lora {

// What of an update serves all rows of its target.
struct Prepared {
  std::vector<std::vector<float>> factors = {};  // as kernels::pack_down() lays them out
  std::vector<float> values = {};                // a vector
  std::vector<double> rotations = {};            // transposed blocks, one after the other
};

// `columns`: of the target. Nothing for kinds that need the whole matrix, see matrix.h.
Prepared prepare(const Update& update, uint64_t columns);

// Buffers of one thread, kept between calls.
struct RowScratch {
  std::vector<float> up = {}, left = {}, right = {};
};

// Rows [first, first + count) of the update's target.
struct RowRange {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t columns = 0;
};

// What an additive part of an update adds to the rows: scale included.
void change_of(
    const LowRank& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch);
void change_of(
    const Hadamard& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch);
void change_of(
    const Kronecker& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch);

// rows: the weight at the update's turn, before and after. change: what became of it, after minus
// before in float32 (of additive kinds what was added). Not for kinds that need the whole matrix.
void apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch);

}  // namespace mflux::lora
