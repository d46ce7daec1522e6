// SPDX-License-Identifier: MIT
// More bits for the layers that need them (--escalate).
#pragma once

#include "mflux/bake/planned.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/events.h"
#include "mflux/lora/adapter.h"

namespace mflux {

// make_plan() with the bits of every baked affine tensor raised (2, 3, 4, 5, 6, 8) until enough of
// each LoRA survives in it. That takes passes over the baked tensors alone, with nothing written.
Plan raise_bits(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const SaveEvents& events);

}  // namespace mflux
