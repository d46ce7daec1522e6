// SPDX-License-Identifier: MIT
// LoRAs at run time, through the code that bakes them. Low-rank pairs run beside the layer they
// belong to; a tensor with any other kind of change is baked in memory.
#pragma once

#include "mflux/checkpoint.h"
#include "mflux/generate.h"
#include "mflux/lora/adapter.h"
#include "mflux/nn/weights.h"

namespace mflux {

struct RuntimeLoras {
  lora::Loaded loaded = {};
  nn::TensorChanges changes = {};  // points into `loaded`
};

// Throws Error of kind lora with all keys that do not fit.
RuntimeLoras load_runtime_loras(const Checkpoint& model, const GenerateOptions& options);

}  // namespace mflux
