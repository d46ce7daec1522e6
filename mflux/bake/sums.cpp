// SPDX-License-Identifier: MIT
#include "mflux/bake/sums.h"

#include <algorithm>
#include <cmath>

namespace mflux {

void BakeSums::add(const BakeSums& other) {
  error.error_sq += other.error.error_sq;
  error.exact_sq += other.error.exact_sq;
  error.max_error = std::max(error.max_error, other.error.max_error);
  for (const auto& [adapter, sums] : other.loras) {
    loras[adapter].cross += sums.cross;
    loras[adapter].norm += sums.norm;
  }
}

double BakeSums::relative_error() const {
  return error.exact_sq == 0 ? 0 : std::sqrt(error.error_sq / error.exact_sq);
}

}  // namespace mflux
