// SPDX-License-Identifier: MIT
// Prompts, and the pictures they speak of, through the text encoder.
#pragma once

#include <functional>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/weights.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines::qwen {

// Condition::text, ::negative (none at guidance 1, where it makes no difference) and ::notes;
// evaluated. The text encoder is loaded after `on_load` and dropped before this returns. Throws
// Error: no tokenizer, or one that is not this encoder's; a prompt that is not UTF-8.
Condition encode_prompts(
    const Checkpoint& model,
    const Request& request,
    const nn::LoadOptions& options,
    const std::function<void()>& on_load);

// A reference as the VAE sees it: float32 [height, width, 3], about a million pixels, by Pillow's
// Lanczos filter.
mx::array reference_for_vae(const mx::array& image);

}  // namespace mflux::pipelines::qwen
