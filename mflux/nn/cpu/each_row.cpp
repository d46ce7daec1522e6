// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/each_row.h"

#include <algorithm>

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

namespace mflux::nn::cpu {

void each_rows(
    size_t count, size_t width, const std::function<void(size_t begin, size_t end)>& use) {
  constexpr size_t kTaskFloats = 16384;
  const size_t grain = std::max<size_t>(1, kTaskFloats / std::max<size_t>(1, width));
  tbb::parallel_for(
      tbb::blocked_range<size_t>(0, count, grain),
      [&](const tbb::blocked_range<size_t>& range) { use(range.begin(), range.end()); });
}

}  // namespace mflux::nn::cpu
