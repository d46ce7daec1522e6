// SPDX-License-Identifier: MIT
// One tile of the pass: some rows of one source tensor, and what becomes of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "mflux/bake/merge.h"
#include "mflux/bake/planned.h"
#include "mflux/bake/sums.h"
#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// Rows of a source tensor that go into one planned tensor.
struct TileUse {
  const PlannedTensor* tensor = nullptr;
  size_t piece = 0;   // index into tensor->mapped.pieces
  size_t output = 0;  // of the pass
  // In a pass with several outputs. Uses with the same `sum` have the same rows in float32, and
  // follow each other. `same_as`: an earlier use that even stores the same bytes, by its index.
  size_t sum = 0;
  std::optional<size_t> same_as = {};
  // Of the LoRAs of tensor->deltas; there from the tensor's first tile to its last.
  MergeFactors factors = {};
  // Set if the canonical tensor is merged as a whole: then it is taken from there.
  const WholeTensor* whole = nullptr;
};

// Rows of one planned part, ready to be written.
struct TileOutput {
  size_t output = 0;  // of the pass
  const PlannedPart* part = nullptr;
  uint64_t offset = 0;                   // in the part's file
  std::span<const std::byte> data = {};  // in `buffer`, or in the tile's own bytes
  std::vector<std::byte> buffer = {};
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
  // Filled by the computation. The outputs in use are the first `output_count`; the others wait
  // with their buffers.
  std::vector<TileOutput> outputs = {};
  size_t output_count = 0;
  std::vector<std::pair<const PlannedTensor*, BakeSums>> sums = {};
};

// Computes the output rows of every use of the tile. Throws Error with the tensor's name for values
// that must not be stored.
void compute_tile(Tile& tile);

}  // namespace mflux
