// SPDX-License-Identifier: MIT
// More bits for the layers that need them.
#pragma once

#include "mflux/bake/plan.h"
#include "mflux/save.h"

namespace mflux {

// The plan that will be carried out: make_plan(), and with options.escalate the bits of every baked
// affine tensor raised (2, 3, 4, 5, 6, 8) until enough of each LoRA survives in it. That takes
// passes over the baked tensors alone, with nothing written. Reports through `events`.
Plan settle_plan(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const SaveEvents& events = {});

}  // namespace mflux
