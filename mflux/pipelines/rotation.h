// SPDX-License-Identifier: MIT
// Rotary positions: each pair of a head's channels is turned by an angle that grows with the
// token's position (Su et al. 2021, arXiv:2104.09864), here along three axes.
#pragma once

#include <array>
#include <span>
#include <utility>

#include "mflux/nn/mlx.h"

namespace mflux::pipelines {

// cos and sin of every token's angles: [tokens, head_width / 2] float32.
struct Rotation {
  mx::array cos = mx::array(0.0F);
  mx::array sin = mx::array(0.0F);
};

// Of a token: index or frame of its picture, row, column.
using Position = std::array<int, 3>;

// cos and sin of the angle at `position` along an axis that has `channels` of a head; `channel` is
// the first of a pair. The families differ in where they round to float32.
using Turn = std::pair<float, float> (*)(int position, int channel, int channels);

// `channels`: how many of a head's turn with each axis, all even.
Rotation rotation(
    std::span<const Position> positions, const std::array<int, 3>& channels, Turn turn);

}  // namespace mflux::pipelines
