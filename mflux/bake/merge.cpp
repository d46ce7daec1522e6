// SPDX-License-Identifier: MIT
// Updates are applied in order to the rows that they share with the block: apply_to_rows() changes
// the weights and says by what, which is kept in a buffer for each LoRA. A second update of the
// same LoRA goes through product_ and is added to that buffer. The buffers stay from block to
// block.
#include "mflux/bake/merge.h"

#include <algorithm>

#include "mflux/base/buffers.h"
#include "mflux/kernels/low_rank.h"

namespace mflux {
MergeFactors read_factors(const Contributions& updates, uint64_t columns) {
  MergeFactors factors;
  for (const lora::Contribution& item : updates) {
    factors.push_back(lora::prepare(*item.update, columns));
  }
  return factors;
}

void RowMerger::merge(
    const Contributions& updates,
    const MergeFactors& factors,
    uint64_t first_row,
    uint64_t rows,
    std::span<float> exact) {
  present_.clear();
  size_ = exact.size();
  const uint64_t columns = rows == 0 ? 0 : size_ / rows;
  for (size_t i = 0; i < updates.size(); ++i) {
    const lora::Contribution& item = updates[i];
    const uint64_t from = std::max(first_row, item.begin);
    const uint64_t to = std::min(first_row + rows, item.begin + item.count);
    if (from >= to) continue;
    const uint64_t count = to - from;
    const uint64_t offset = (from - first_row) * columns;
    const std::span<float> delta = delta_of(item.adapter);
    const bool is_whole = count == rows && !is_present(item.adapter);
    const std::span<float> change = is_whole ? delta : resized(product_, count * columns);
    lora::apply_to_rows(
        *item.update,
        factors[i],
        {item.update_begin + (from - item.begin), count, columns},
        exact.subspan(offset, count * columns),
        change,
        scratch_);
    if (!is_whole) {
      if (!is_present(item.adapter)) std::fill(delta.begin(), delta.end(), 0.0F);
      kernels::add(change, delta.subspan(offset, count * columns));
    }
    if (!is_present(item.adapter)) present_.push_back(item.adapter);
  }
}

void RowMerger::take(const WholeTensor& tensor, uint64_t first_row, std::span<float> exact) {
  present_.clear();
  size_ = exact.size();
  std::ranges::copy(tensor.weight(first_row, size_), exact.begin());
  for (const size_t adapter : tensor.adapters()) {
    std::ranges::copy(tensor.change(adapter, first_row, size_), delta_of(adapter).begin());
    present_.push_back(adapter);
  }
}

bool RowMerger::is_present(size_t adapter) const {
  return std::ranges::find(present_, adapter) != present_.end();
}

std::span<float> RowMerger::delta_of(size_t adapter) {
  if (deltas_.size() <= adapter) deltas_.resize(adapter + 1);
  return resized(deltas_[adapter], size_);
}

}  // namespace mflux
