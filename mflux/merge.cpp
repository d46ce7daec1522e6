// SPDX-License-Identifier: MIT
#include "mflux/merge.h"

#include <algorithm>

#include "mflux/kernels/convert.h"
#include "mflux/kernels/low_rank.h"

namespace mflux {
namespace {

// Grows, never shrinks: page faults cost more than the arithmetic.
std::span<float> resized(std::vector<float>& buffer, uint64_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return std::span<float>(buffer.data(), size);
}

}  // namespace

MergeFactors read_factors(const Contributions& updates, uint64_t columns) {
  MergeFactors factors;
  factors.down.resize(updates.size());
  std::vector<float> plain;
  for (size_t i = 0; i < updates.size(); ++i) {
    const auto* update = std::get_if<lora::LowRank>(updates[i].update);
    if (update == nullptr) continue;
    plain.resize(update->rank * columns);
    lora::read_down(*update, plain);
    factors.down[i].resize(kernels::packed_down_size(update->rank, columns));
    kernels::pack_down(plain, update->rank, columns, factors.down[i]);
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
    const std::span<float> product = is_whole ? delta : resized(product_, count * columns);
    compute_delta(
        *item.update, factors.down[i], item.update_begin + (from - item.begin), count, product);
    kernels::add(product, exact.subspan(offset, count * columns));
    if (!is_whole) {
      if (!is_present(item.adapter)) std::fill(delta.begin(), delta.end(), 0.0F);
      kernels::add(product, delta.subspan(offset, count * columns));
    }
    if (!is_present(item.adapter)) present_.push_back(item.adapter);
  }
}

bool RowMerger::is_present(size_t adapter) const {
  return std::ranges::find(present_, adapter) != present_.end();
}

std::span<float> RowMerger::delta_of(size_t adapter) {
  if (deltas_.size() <= adapter) deltas_.resize(adapter + 1);
  return resized(deltas_[adapter], size_);
}

// Rows [first, first + count) of an update.
void RowMerger::compute_delta(
    const lora::Update& update,
    std::span<const float> down,
    uint64_t first,
    uint64_t count,
    std::span<float> product) {
  if (const auto* low_rank = std::get_if<lora::LowRank>(&update)) {
    const std::span<float> up = resized(up_, count * low_rank->rank);
    lora::read_up(*low_rank, first, count, up);
    const uint64_t columns = product.size() / count;
    kernels::low_rank_product(up, down, count, low_rank->rank, columns, product);
  } else {
    lora::read_dense(std::get<lora::Dense>(update), first, count, product);
  }
}

}  // namespace mflux
