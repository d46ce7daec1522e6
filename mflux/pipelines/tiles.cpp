// SPDX-License-Identifier: MIT
// Tiles are computed row by row. Only the row of tiles above is kept, for its lower edges; of each
// tile the part that no later tile blends into is cut out and joined.
#include "mflux/pipelines/tiles.h"

#include <algorithm>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/base/error.h"

namespace mflux::pipelines {
namespace {

// Side of a tile and the distance to the next, before and after.
struct Sides {
  int in_tile = 0;
  int in_stride = 0;
  int out_tile = 0;
  int out_stride = 0;
};

mx::array part(const mx::array& x, int axis, int begin, int end) {
  mx::Shape from(static_cast<size_t>(x.ndim()), 0);
  mx::Shape to = x.shape();
  from[static_cast<size_t>(axis)] = begin;
  to[static_cast<size_t>(axis)] = std::min(end, x.shape(axis));
  return mx::slice(x, from, to);
}

// The first `extent` rows (axis 1) or columns (axis 2) of `tile` go over from the last of `before`.
mx::array blended(const mx::array& before, const mx::array& tile, int axis, int extent) {
  extent = std::min({extent, before.shape(axis), tile.shape(axis)});
  if (extent == 0) return tile;
  mx::Shape along(static_cast<size_t>(tile.ndim()), 1);
  along[static_cast<size_t>(axis)] = extent;
  const mx::array ramp = mx::reshape(
      mx::divide(mx::arange(0, extent, mx::float32), mx::array(static_cast<float>(extent))), along);
  const int length = before.shape(axis);
  const mx::array old = part(before, axis, length - extent, length);
  const mx::array young = part(tile, axis, 0, extent);
  const mx::array mixed =
      mx::add(mx::multiply(old, mx::subtract(mx::array(1.0F), ramp)), mx::multiply(young, ramp));
  return mx::concatenate({mixed, part(tile, axis, extent, tile.shape(axis))}, axis);
}

mx::array in_tiles(const mx::array& x, const Sides& sides, const TileFunction& use) {
  const int height = x.shape(1);
  const int width = x.shape(2);
  if (height <= sides.in_tile && width <= sides.in_tile) return use(x);
  const int blend = sides.out_tile - sides.out_stride;
  std::vector<mx::array> above;
  std::vector<mx::array> rows;
  for (int top = 0; top < height; top += sides.in_stride) {
    const mx::array strip = part(x, 1, top, top + sides.in_tile);
    std::vector<mx::array> row;
    std::vector<mx::array> kept;
    for (int left = 0; left < width; left += sides.in_stride) {
      mx::array tile = use(part(strip, 2, left, left + sides.in_tile));
      if (!above.empty()) tile = blended(above[row.size()], tile, 1, blend);
      if (!row.empty()) tile = blended(row.back(), tile, 2, blend);
      mx::eval(tile);
      kept.push_back(part(part(tile, 1, 0, sides.out_stride), 2, 0, sides.out_stride));
      row.push_back(tile);
    }
    rows.push_back(mx::concatenate(kept, 2));
    mx::eval(rows.back());
    above = std::move(row);
  }
  return mx::concatenate(rows, 1);
}

int stride_of(int tile) {
  return std::max(1, tile * 3 / 4);
}

void check(int tile, int scale) {
  if (tile < scale)
    fail(ErrorKind::usage, "tiles of {} pixels: at least {} are needed", tile, scale);
}

}  // namespace

mx::array decode_in_tiles(
    const mx::array& latents, int tile, int scale, const TileFunction& decode) {
  check(tile, scale);
  const int side = tile / scale;
  const int stride = stride_of(side);
  const mx::array y = in_tiles(
      latents,
      {.in_tile = side,
       .in_stride = stride,
       .out_tile = side * scale,
       .out_stride = stride * scale},
      decode);
  return part(part(y, 1, 0, latents.shape(1) * scale), 2, 0, latents.shape(2) * scale);
}

mx::array encode_in_tiles(const mx::array& image, int tile, int scale, const TileFunction& encode) {
  check(tile, scale);
  const int side = tile / scale;
  const int stride = stride_of(side);
  const mx::array y = in_tiles(
      image,
      {.in_tile = side * scale,
       .in_stride = stride * scale,
       .out_tile = side,
       .out_stride = stride},
      encode);
  return part(part(y, 1, 0, image.shape(1) / scale), 2, 0, image.shape(2) / scale);
}

}  // namespace mflux::pipelines
