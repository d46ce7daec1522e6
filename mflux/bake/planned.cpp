// SPDX-License-Identifier: MIT
#include "mflux/bake/planned.h"

#include <algorithm>

#include "mflux/base/tensor.h"

namespace mflux {

bool PlannedTensor::baked() const {
  return std::any_of(
      deltas.begin(), deltas.end(), [](const auto* list) { return list != nullptr; });
}

uint64_t PlannedTensor::bytes() const {
  return weight.spec.bytes() + (scales ? scales->spec.bytes() : 0) +
         (biases ? biases->spec.bytes() : 0);
}

uint64_t Plan::bytes() const {
  uint64_t sum = 0;
  for (const PlannedShard& shard : shards) sum += shard.bytes;
  return sum;
}

std::string Plan::name_of(const PlannedTensor& tensor) const {
  return full_name(components[tensor.component].name, tensor.mapped.name);
}

}  // namespace mflux
