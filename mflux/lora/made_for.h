// SPDX-License-Identifier: MIT
// For which model a LoRA was made, as far as the file says.
#pragma once

#include <span>
#include <string_view>

#include "mflux/lora/family.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct Module;

struct MadeFor {
  // A family's name, or that of a model of none ("SDXL"); "" if nothing tells, or not which.
  std::string_view name = {};
  // For people: "FLUX.1".
  std::string_view title = {};
  // The metadata say so, else the names do.
  bool by_metadata = false;
};

// Metadata count before names. `modules` with their places resolved.
MadeFor made_for(
    const safetensors::Metadata& metadata, std::span<const Module> modules, Families families);

// Which model an unknown module of the transformer looks made for, other than `model`'s (null: of
// none); for people, "" if none.
std::string_view lookalike(std::string_view module, Families families, const Family* model);

}  // namespace mflux::lora
