// SPDX-License-Identifier: MIT
// What inspect found, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "mflux/inspect.h"

namespace mflux::cli {

// `tensors`: with every tensor.
std::vector<std::string> text_lines(const Inspection& found, bool tensors);

// One object a line. A model: "model", then every "component" and "tensor". A LoRA: "lora", then
// every "module", "coverage", "problem".
std::vector<std::string> json_lines(const Inspection& found);

std::string_view naming_name(models::Naming naming);

}  // namespace mflux::cli
