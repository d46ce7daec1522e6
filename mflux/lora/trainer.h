// SPDX-License-Identifier: MIT
// What made a LoRA file, as far as its metadata or the style of its keys tell.
#pragma once

#include <string>

#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct Trainer {
  std::string name = {};  // "ai-toolkit", "OneTrainer", ...; "" if nothing tells
  std::string by = {};    // "metadata software", "key style"
};

Trainer trainer_of(const safetensors::Header& header);

}  // namespace mflux::lora
