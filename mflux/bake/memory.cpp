// SPDX-License-Identifier: MIT
// Two bounds: a tile in flight for every output, and on top of one tile the groups of whole
// matrices that are held at the same time. Groups are held from their first to their last source
// tensor, so their peak is at the first of one of them.
#include "mflux/bake/memory.h"

#include <algorithm>

#include "mflux/base/error.h"

namespace mflux {

void check_tile_memory(uint64_t max_memory, size_t outputs) {
  const uint64_t needed = outputs * kTileMemory;
  if (max_memory >= needed) return;
  fail(
      ErrorKind::usage,
      "--max-memory allows {} bytes, expected at least {} MiB for {} output{}: a tile of a tensor "
      "each",
      max_memory,
      needed >> 20,
      outputs,
      outputs == 1 ? "" : "s");
}

uint64_t whole_peak(const std::vector<WholeGroup>& groups) {
  uint64_t peak = 0;
  for (const WholeGroup& now : groups) {
    uint64_t sum = 0;
    for (const WholeGroup& other : groups) {
      const bool is_held =
          other.first_source <= now.first_source && now.first_source <= other.last_source;
      if (is_held) sum += other.bytes;
    }
    peak = std::max(peak, sum);
  }
  return peak;
}

void check_whole_memory(const std::vector<WholeGroup>& groups, uint64_t max_memory) {
  const uint64_t needed = whole_peak(groups) + kTileMemory;
  if (groups.empty() || needed <= max_memory) return;
  const auto largest = std::ranges::max_element(groups, {}, &WholeGroup::bytes);
  const auto mebibytes = [](uint64_t bytes) { return (bytes + (1 << 20) - 1) >> 20; };
  fail(
      "Cannot merge {}: {} works on the whole matrix, which takes {} MiB in float32; the save "
      "needs {} MiB, --max-memory allows {} MiB",
      largest->tensors.front(),
      largest->reason,
      mebibytes(largest->bytes),
      mebibytes(needed),
      mebibytes(max_memory));
}

}  // namespace mflux
