// SPDX-License-Identifier: MIT
// LoRAs at run time, through the code that bakes them. Low-rank pairs run beside the layer they
// belong to; a tensor with any other kind of change is baked in memory.
#pragma once

#include <atomic>
#include <optional>

#include "mflux/bake/planned.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/generate/options.h"
#include "mflux/lora/adapter.h"
#include "mflux/nn/weights.h"

namespace mflux {

struct RuntimeLoras {
  lora::Loaded loaded = {};
  std::optional<Plan> plan = {};   // none without LoRAs; points into `loaded`
  nn::TensorChanges changes = {};  // likewise
};

// From headers; values are read, nothing is computed. Throws Error of kind lora with all keys that
// do not fit.
RuntimeLoras load_runtime_loras(const Checkpoint& model, const GenerateOptions& options);

// Fills in changes.baked. `stop` as in PassOptions.
void bake_in_memory(const Checkpoint& model, RuntimeLoras& loras, const std::atomic<bool>* stop);

}  // namespace mflux
