// SPDX-License-Identifier: MIT
// The rotary frequencies that Python's mflux stores with a model though no other naming does. They
// follow from config.json.
#pragma once

#include "mflux/models/canonical.h"
#include "mflux/models/component.h"

namespace mflux::models {

// Appends what the component's table lists, as tensors with values of their own: F32 [dim / 2],
// 1 / base^(2i / dim), each operation rounded to float32 as in mflux's QwenRotaryEmbedding. Where
// config.json does not tell the width of a head, a tensor of that name in the source does; where
// neither does, nothing is appended: no reader needs them.
void add_frequencies(
    const CanonicalComponent& component, const SourceComponent& source, MappedComponent& mapped);

}  // namespace mflux::models
