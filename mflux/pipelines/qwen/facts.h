// SPDX-License-Identifier: MIT
// What Qwen-Image's pictures are like.
#pragma once

#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines::qwen {

// 16 channels at 2 x 2 positions of the latents make a token.
inline constexpr PictureFacts kFacts = {
    .token_pixels = 16, .latent_pixels = 8, .token_values = 64, .side = 1024};

inline constexpr PictureFacts kEditFacts = {
    .token_pixels = 16, .latent_pixels = 8, .token_values = 64, .side = 1024, .edits = true};

}  // namespace mflux::pipelines::qwen
