// SPDX-License-Identifier: MIT
// Pictures in another size, as Pillow resizes 8-bit pictures: first along the rows, then along the
// columns, rounded to whole levels after each.
#pragma once

#include <cstdint>

#include "mflux/nn/mlx.h"

namespace mflux::pipelines {

enum class Filter : uint8_t {
  lanczos,  // three lobes
  bicubic,  // a = -0.5
};

// image: float32 [height, width, channels] in -1..1, taken as one of 256 levels; the result is
// again. Evaluated.
mx::array resample(const mx::array& image, int height, int width, Filter filter);

}  // namespace mflux::pipelines
