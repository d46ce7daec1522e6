// SPDX-License-Identifier: MIT
// A checkpoint as LoRAs see it.
#pragma once

#include "mflux/checkpoint.h"
#include "mflux/lora/load.h"

namespace mflux {

// `transformer_only`: the other components are known, but nothing is written into them.
lora::BaseModel lora_base(const Checkpoint& model, bool transformer_only = false);

}  // namespace mflux
