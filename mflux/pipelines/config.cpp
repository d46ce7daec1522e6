// SPDX-License-Identifier: MIT
#include "mflux/pipelines/config.h"

#include <algorithm>
#include <vector>

#include "mflux/base/error.h"

namespace mflux::pipelines {

models::Config config_of(const nn::Weights& weights) {
  return {weights.config(), weights.component() + "/config.json"};
}

std::optional<std::array<int, 3>> three_wholes(const models::Config& config, std::string_view key) {
  const std::optional<std::vector<int>> list = config.wholes(key);
  if (!list) return std::nullopt;
  std::array<int, 3> result = {};
  if (list->size() != result.size()) {
    fail("{}: {} has {} numbers, expected three", config.file(), key, list->size());
  }
  std::ranges::copy(*list, result.begin());
  return result;
}

std::array<int, 3> rope_axes(const models::Config& config, int head_width) {
  const int index = head_width / 8;
  const int side = (head_width - index) / 2;
  const auto axes = three_wholes(config, "axes_dims_rope")
                        .value_or(std::array{head_width - 2 * side, side, side});
  const auto [first, row, column] = axes;
  if (first + row + column == head_width && first % 2 + row % 2 + column % 2 == 0) return axes;
  fail(
      "{}: the rotary embedding takes {}, {} and {} channels, expected even numbers with the sum "
      "{}",
      config.file(),
      first,
      row,
      column,
      head_width);
}

}  // namespace mflux::pipelines
