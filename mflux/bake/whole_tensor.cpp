// SPDX-License-Identifier: MIT
#include "mflux/bake/whole_tensor.h"

namespace mflux {

std::span<const float> WholeTensor::weight(uint64_t first_row, uint64_t size) const {
  return std::span(weight_).subspan(first_row * columns_, size);
}

std::span<const float> WholeTensor::change(
    size_t adapter, uint64_t first_row, uint64_t size) const {
  return std::span(changes_.at(adapter)).subspan(first_row * columns_, size);
}

std::vector<size_t> WholeTensor::adapters() const {
  std::vector<size_t> result;
  for (const auto& [adapter, change] : changes_) result.push_back(adapter);
  return result;
}

float* WholeTensor::change_row(size_t adapter, uint64_t row) {
  std::vector<float>& change = changes_[adapter];
  if (change.empty()) change.resize(weight_.size());
  return change.data() + row * columns_;
}

}  // namespace mflux
