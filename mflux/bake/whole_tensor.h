// SPDX-License-Identifier: MIT
// A tensor that is merged as a whole, in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

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

}  // namespace mflux
