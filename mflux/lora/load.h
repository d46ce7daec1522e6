// SPDX-License-Identifier: MIT
// Opens LoRA files and checks them against a model before anything is written.
//
//   lora::Loaded loras = lora::load(specs, model);
//   if (!loras.problems.empty()) fail(ErrorKind::lora, "{}", Shown{describe(loras.problems)});
#pragma once

#include <span>

#include "mflux/lora/adapter.h"
#include "mflux/lora/base_model.h"

namespace mflux::lora {

// Reads and checks everything: keys, shapes against the targets, every value for finiteness.
// Problems of all files are collected; throws only for a file that cannot be read or is not
// a well-formed safetensors file.
Loaded load(std::span<const LoraSpec> specs, const BaseModel& model);

}  // namespace mflux::lora
