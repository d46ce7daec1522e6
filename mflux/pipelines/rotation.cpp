// SPDX-License-Identifier: MIT
#include "mflux/pipelines/rotation.h"

#include <vector>

namespace mflux::pipelines {

Rotation rotation(
    std::span<const Position> positions, const std::array<int, 3>& channels, Turn turn) {
  std::vector<float> cosines;
  std::vector<float> sines;
  for (const Position& position : positions) {
    for (size_t axis = 0; axis < position.size(); ++axis) {
      for (int channel = 0; channel < channels[axis]; channel += 2) {
        const auto [cos, sin] = turn(position[axis], channel, channels[axis]);
        cosines.push_back(cos);
        sines.push_back(sin);
      }
    }
  }
  const int pairs = (channels[0] + channels[1] + channels[2]) / 2;
  const mx::Shape shape = {static_cast<int>(positions.size()), pairs};
  return {
      mx::array(cosines.data(), shape, mx::float32), mx::array(sines.data(), shape, mx::float32)};
}

}  // namespace mflux::pipelines
