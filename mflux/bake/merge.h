// SPDX-License-Identifier: MIT
// LoRAs merged into float32 rows of one tensor, in the order given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mflux/bake/whole_tensor.h"
#include "mflux/lora/algorithms/update.h"
#include "mflux/lora/contributions.h"

namespace mflux {

using Contributions = std::vector<lora::Contribution>;

// What of a tensor's updates serves all of its rows, in the order of the updates.
using MergeFactors = std::vector<lora::Prepared>;

MergeFactors read_factors(const Contributions& updates, uint64_t columns);

// One block of rows after the other; the buffers stay between them.
class RowMerger {
 public:
  // `exact`: rows [first_row, first_row + rows) of the canonical tensor, before and after. None of
  // the updates needs the whole matrix.
  void merge(
      const Contributions& updates,
      const MergeFactors& factors,
      uint64_t first_row,
      uint64_t rows,
      std::span<float> exact);

  // The same from a tensor that was merged as a whole.
  void take(const WholeTensor& tensor, uint64_t first_row, std::span<float> exact);

  // The LoRAs that changed the last block, and by what: as many values as it had.
  std::span<const size_t> adapters() const { return present_; }
  std::span<const float> delta(size_t adapter) const { return {deltas_[adapter].data(), size_}; }

 private:
  bool is_present(size_t adapter) const;
  std::span<float> delta_of(size_t adapter);

  std::vector<float> product_ = {};
  lora::RowScratch scratch_ = {};
  std::vector<std::vector<float>> deltas_ = {};  // by LoRA
  std::vector<size_t> present_ = {};
  uint64_t size_ = 0;  // of the last block
};

}  // namespace mflux
