// SPDX-License-Identifier: MIT
// Which of the FLUX.1 models a folder holds, from headers alone: they differ in the width of the
// transformer's tokens and in whether it has a guidance embedder.
#pragma once

#include <cstdint>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines::flux {

enum class Pictures : uint8_t {
  optional,  // dev, schnell and Kontext: a reference is a second grid of tokens
  control,   // Canny and Depth: the picture's latents are channels of every token
  fill,      // so are those of the picture with the mask cut out, and the mask
};

struct Variant {
  Pictures pictures = Pictures::optional;
  bool guidance = true;  // schnell has none
  bool kontext = false;  // as model_index.json says; with nothing said, dev
};

// Throws Error if a component is missing, if the transformer is none of these, or if it takes other
// widths than the text encoders give.
Variant variant_of(const Checkpoint& model);

// As Python's mflux has them.
Defaults defaults_of(const Variant& variant);

// Throws Error of the kind usage for pictures and masks the variant cannot take or lacks, for a
// size that is no multiple of 16, and for a mask of another size.
void check(const Request& request, const Variant& variant);

}  // namespace mflux::pipelines::flux
