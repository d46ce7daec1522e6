// SPDX-License-Identifier: MIT
// Whether a save fits into the memory it is allowed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mflux/bake/planned.h"

namespace mflux {

// A bound on what one tile in flight needs, scratch included.
constexpr uint64_t kTileMemory = 16 << 20;

// Throws a usage Error if `max_memory` bytes do not hold one tile in flight for each output.
void check_tile_memory(uint64_t max_memory, size_t outputs);

// The largest sum of WholeGroup::bytes that the pass holds at a time.
uint64_t whole_peak(const std::vector<WholeGroup>& groups);

// Throws Error with the numbers if the pass would need more.
void check_whole_memory(const std::vector<WholeGroup>& groups, uint64_t max_memory);

}  // namespace mflux
