// SPDX-License-Identifier: MIT
// Tensors that cannot be merged row by row, because some update of theirs needs the whole matrix:
// they are read into float32 buffers when the pass reaches the first of them, and all updates are
// applied there, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/bake/plan.h"

namespace mflux {

// A canonical tensor, merged.
class WholeTensor {
 public:
  WholeTensor(uint64_t rows, uint64_t columns) : columns_(columns), weight_(rows * columns) {}

  // `size` values from the row on.
  std::span<const float> weight(uint64_t first_row, uint64_t size) const;
  std::span<const float> change(size_t adapter, uint64_t first_row, uint64_t size) const;
  std::vector<size_t> adapters() const;

  uint64_t columns() const { return columns_; }
  float* weight_row(uint64_t row) { return weight_.data() + row * columns_; }
  float* change_row(size_t adapter, uint64_t row);  // zeros until someone adds to them

 private:
  uint64_t columns_;
  std::vector<float> weight_;
  std::map<size_t, std::vector<float>> changes_ = {};
};

// The tensors of a WholeGroup by their names, as in the group.
using WholeTensors = std::map<std::string, WholeTensor>;

// Finds the groups of a plan and what they take: no memory is taken yet.
std::vector<WholeGroup> find_whole_groups(const Checkpoint& model, const Plan& plan);

// The largest sum of WholeGroup::bytes that the pass holds at a time.
uint64_t whole_peak(const std::vector<WholeGroup>& groups);

// Throws Error with the numbers if the pass would need more.
void check_whole_memory(const std::vector<WholeGroup>& groups, uint64_t max_memory);

// Reads and merges. The result does not depend on the number of threads.
WholeTensors merge_whole(const Checkpoint& model, const Plan& plan, const WholeGroup& group);

}  // namespace mflux
