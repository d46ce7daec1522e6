// SPDX-License-Identifier: MIT
// What an update makes of the whole matrix of its target, for the kinds in which a row depends on
// others: DoRA with a magnitude per input, OFT and BOFT of the outputs.
#pragma once

#include <cstdint>
#include <span>

#include "mflux/lora/rotation.h"
#include "mflux/lora/update.h"

namespace mflux::lora {

// Rows of a target; in memory they may lie apart. `change` takes what became of each value, added
// to what is there.
struct MatrixRows {
  std::span<float* const> weight = {};
  std::span<float* const> change = {};
  uint64_t columns = 0;
};

// The result does not depend on `parallel`.
void apply_to_matrix(const Update& update, const MatrixRows& matrix, const Parallel& parallel);

// Bytes that apply_to_matrix() takes besides, with so many threads.
uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads);

}  // namespace mflux::lora
