// SPDX-License-Identifier: MIT
// The same by tensor: which updates a tensor of the model gets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mflux/lora/adapter.h"

namespace mflux::lora {

// Rows [update_begin, update_begin + count) of an update's target are rows [begin, begin + count)
// of the tensor. Of a vector (bias, norm) the rows are its elements.
struct Contribution {
  const Update* update = nullptr;  // in the Loaded
  uint64_t begin = 0;
  uint64_t count = 0;
  uint64_t update_begin = 0;
  size_t adapter = 0;
};

// By "component/tensor" with canonical names, in the order of the LoRAs, then of the file.
std::map<std::string, std::vector<Contribution>> contributions(const Loaded& loaded);

}  // namespace mflux::lora
