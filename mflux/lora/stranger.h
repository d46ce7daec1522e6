// SPDX-License-Identifier: MIT
// Files that are given as a LoRA and are something else.
#pragma once

#include <span>
#include <string>

#include "mflux/lora/base_model.h"
#include "mflux/lora/module.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

// "is not a LoRA but a VAE; ..." if the file holds no key of a LoRA and its names tell what it is;
// else "".
std::string stranger(const safetensors::Header& header);

// The same of a file whose modules, with their places resolved, are a model's: plain tensors that
// would replace nearly everything, or of which `model` knows none.
std::string stranger_to(
    const BaseModel& model, const safetensors::Header& header, std::span<const Module> modules);

}  // namespace mflux::lora
