// SPDX-License-Identifier: MIT
// How far apart two pictures of the same size are. Each function throws Error if the sizes differ.
#pragma once

#include "mflux/image/picture.h"

namespace mflux {

// Peak signal-to-noise ratio in dB over all values of red, green and blue, peak 255:
// 10 log10(255^2 / mean squared error). Infinite for equal pictures.
double psnr_db(const Picture& a, const Picture& b);

// Structural similarity, at most 1 (equal): Wang, Bovik, Sheikh, Simoncelli, "Image quality
// assessment: from error visibility to structural similarity", IEEE TIP 2004. Of the luma
// 0.299 R + 0.587 G + 0.114 B, not rounded, at full size; Gaussian window of 11 x 11, sigma 1.5,
// where it fits entirely; K1 = 0.01, K2 = 0.03, L = 255. Throws Error under 11 x 11 pixels.
double ssim(const Picture& a, const Picture& b);

// |a - b| of every channel, averaged over squares so that neither side is longer than
// `longest_side` pixels, then times `gain` (over 255: 255).
Picture amplified_difference(const Picture& a, const Picture& b, double gain, int longest_side);

}  // namespace mflux
