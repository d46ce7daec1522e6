// SPDX-License-Identifier: MIT
// A plan from headers alone. Everything that can be refused is refused here, before the first byte
// is written.
#pragma once

#include "mflux/bake/planned.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/lora/adapter.h"

namespace mflux {

// Throws Error of kind lora with every LoRA key that does not fit (unless options.on_lora_failure
// says otherwise, in which case `loras` loses them), of kind usage for options that contradict each
// other or the model.
Plan make_plan(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const BitsByTensor& bits = {});

}  // namespace mflux
