// SPDX-License-Identifier: MIT
// The convolutions of a VAE. x: [1, height, width, channels]
#pragma once

#include "mflux/nn/layers.h"

namespace mflux::pipelines {

// The same size out as in.
mx::array convolve(const mx::array& x, const nn::Conv& conv);
// Half of it, for a kernel of 3 x 3: padded below and at the right alone, as diffusers does.
mx::array convolve_to_half(const mx::array& x, const nn::Conv& conv);

}  // namespace mflux::pipelines
