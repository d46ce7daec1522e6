// SPDX-License-Identifier: MIT
// Opens LoRA files and checks them against a model before anything is written.
//
//   lora::Loaded loras = lora::load(specs, model);
//   if (!loras.problems.empty()) fail(ErrorKind::lora, "{}", Shown{describe(loras.problems)});
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/lora/adapter.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

// What the LoRAs are to be applied to.
struct BaseModel {
  std::string family = {};  // "flux", "qwen"
  std::string title = {};   // for people: "FLUX.1"
  // Canonical tensors of every component the family has; none in a component that is not being
  // written.
  std::map<std::string, std::map<std::string, Shape>> components = {};
  std::vector<Target> targets = {};
};

// Reads and checks everything: keys, shapes against the targets, every value for finiteness.
// Problems of all files are collected; throws only for a file that cannot be read or is no
// well-formed safetensors file.
Loaded load(std::span<const LoraSpec> specs, const BaseModel& model);

}  // namespace mflux::lora
