// SPDX-License-Identifier: MIT
// One tile of the pass: some rows of one source tensor, and what becomes of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "mflux/stream.h"

namespace mflux {

// Rows of a source tensor that go into one planned tensor.
struct TileUse {
  const PlannedTensor* tensor = nullptr;
  size_t piece = 0;  // index into tensor->mapped.pieces
  // Down factors of the LoRAs in the order of tensor->deltas, as kernels::pack_down() lays them out; they serve all
  // rows. There from the tensor's first tile to its last.
  std::vector<std::vector<float>> down = {};

  void read_factors(uint64_t columns);
};

struct Tile {
  const Component* component = nullptr;
  const LogicalTensor* source = nullptr;
  uint64_t first_row = 0;
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::vector<TileUse>* uses = nullptr;
  // Filled by the reader.
  std::vector<std::byte> weight = {};
  std::vector<std::byte> scales = {};
  std::vector<std::byte> biases = {};
  // Filled by the computation.
  std::vector<std::pair<const PlannedTensor*, BakeSums>> sums = {};
};

// Computes the output rows of every use of the tile and hands them to the sink. Throws Error with
// the tensor's name for values that must not be stored.
void compute_tile(Tile& tile, Sink& sink);

}  // namespace mflux
