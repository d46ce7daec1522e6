// SPDX-License-Identifier: MIT
#include "mflux/lora/contributions.h"

#include <algorithm>

#include <fmt/format.h>

namespace mflux::lora {
std::map<std::string, std::vector<Contribution>> contributions(const Loaded& loaded) {
  std::map<std::string, std::vector<Contribution>> result;
  for (size_t adapter = 0; adapter < loaded.adapters.size(); ++adapter) {
    for (const Update& update : loaded.adapters[adapter].updates) {
      uint64_t begin = 0;
      for (const TargetRows& rows : target_of(update).rows) {
        result[fmt::format("{}/{}", rows.component, rows.tensor)].push_back(
            {&update, rows.begin, rows.count, begin, adapter});
        begin += rows.count;
      }
    }
  }
  return result;
}

void read_up(const LowRank& update, uint64_t first_row, uint64_t rows, std::span<float> out) {
  const uint64_t rank = update.rank;
  if (!update.core.empty()) {
    const Product product{.up = update.up, .core = update.core, .down = update.down};
    return read_up(product, first_row, rows, update.scale, out);
  }
  if (!update.transposed) {
    read_values(update.up, first_row * rank, update.scale, out.first(rows * rank));
    return;
  }
  std::vector<float> line(rows);
  for (uint64_t k = 0; k < rank; ++k) {
    read_values(update.up, k * update.up.columns + first_row, update.scale, line);
    for (uint64_t i = 0; i < rows; ++i) out[i * rank + k] = line[i];
  }
}

void read_down(const LowRank& update, std::span<float> out) {
  const uint64_t width = update.target.inputs;
  const uint64_t stored = update.transposed ? update.down.rows : update.down.columns;
  std::ranges::fill(out, 0.0F);
  if (!update.transposed) {
    for (uint64_t k = 0; k < update.rank; ++k) {
      read_values(update.down, k * stored, 1, out.subspan(k * width, stored));
    }
    return;
  }
  std::vector<float> line(update.rank);
  for (uint64_t j = 0; j < stored; ++j) {
    read_values(update.down, j * update.rank, 1, line);
    for (uint64_t k = 0; k < update.rank; ++k) out[k * width + j] = line[k];
  }
}

void read_dense(const Dense& update, uint64_t first_row, uint64_t rows, std::span<float> out) {
  const uint64_t columns = update.value.columns;
  read_values(update.value, first_row * columns, update.scale, out.first(rows * columns));
}

}  // namespace mflux::lora
