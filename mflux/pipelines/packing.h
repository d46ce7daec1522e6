// SPDX-License-Identifier: MIT
// Latents as the VAE has them and as the transformer has them: a token is 2 x 2 positions of 16
// channels, its 64 values ordered by channel, row, column. FLUX.1 and Qwen-Image alike.
#pragma once

#include "mflux/nn/mlx.h"

namespace mflux::pipelines {

// [1, height, width, channels] -> [1, height / 2 * width / 2, channels * 4], row by row; height and
// width are even.
mx::array pack(const mx::array& latents);
// [1, rows * columns, channels * 4] -> [1, rows * 2, columns * 2, channels]
mx::array unpack(const mx::array& tokens, int rows, int columns);

}  // namespace mflux::pipelines
