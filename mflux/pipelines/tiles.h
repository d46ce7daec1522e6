// SPDX-License-Identifier: MIT
// Pictures through a VAE in overlapping tiles, so that memory depends on the tile and not on the
// picture. Tiles lie three quarters of their side apart; where they overlap they are blended
// linearly, first downwards, then to the right, as diffusers' tiled_decode() does.
#pragma once

#include <functional>

#include "mflux/nn/mlx.h"

namespace mflux::pipelines {

using TileFunction = std::function<mx::array(const mx::array& tile)>;

// latents [1, height, width, channels] -> [1, scale * height, scale * width, out]. `tile`: side in
// pixels, at least `scale`. Each tile is evaluated before the next.
mx::array decode_in_tiles(
    const mx::array& latents, int tile, int scale, const TileFunction& decode);
// image [1, height, width, channels] -> [1, height / scale, width / scale, out].
mx::array encode_in_tiles(const mx::array& image, int tile, int scale, const TileFunction& encode);

}  // namespace mflux::pipelines
