// SPDX-License-Identifier: MIT
#include "mflux/pipelines/packing.h"

#include <mlx/mlx.h>

namespace mflux::pipelines {

mx::array pack(const mx::array& latents) {
  const int rows = latents.shape(1) / 2;
  const int columns = latents.shape(2) / 2;
  const int channels = latents.shape(3);
  const mx::array squares = mx::reshape(latents, {1, rows, 2, columns, 2, channels});
  return mx::reshape(mx::transpose(squares, {0, 1, 3, 5, 2, 4}), {1, rows * columns, channels * 4});
}

mx::array unpack(const mx::array& tokens, int rows, int columns) {
  const int channels = tokens.shape(2) / 4;
  const mx::array squares = mx::reshape(tokens, {1, rows, columns, channels, 2, 2});
  return mx::reshape(
      mx::transpose(squares, {0, 1, 4, 2, 5, 3}), {1, rows * 2, columns * 2, channels});
}

}  // namespace mflux::pipelines
