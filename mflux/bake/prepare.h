// SPDX-License-Identifier: MIT
// What a save, a job and a dry run begin with: the LoRAs, checked against the model, and the plan
// that will be carried out.
#pragma once

#include "mflux/bake/planned.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/events.h"
#include "mflux/lora/adapter.h"

namespace mflux {

// Reads and checks the LoRAs of `options` against the model's tables.
lora::Loaded load_loras(const Checkpoint& model, const SaveOptions& options);

// make_plan(), and with options.escalate what raise_bits() makes of it. Reports through `events`.
Plan settle_plan(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const SaveEvents& events = {});

}  // namespace mflux
