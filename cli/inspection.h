// SPDX-License-Identifier: MIT
// What inspect found, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "mflux/inspect.h"

namespace mflux::cli {

struct TextOptions {
  bool tensors = false;  // of a model: every one
  bool verbose = false;  // of a LoRA: every layer's share kept, every dead module
};
std::vector<std::string> text_lines(const Inspection& found, const TextOptions& options);

// One object a line. A model: "model", then every "component" and "tensor". A LoRA: "lora", then
// every "module", "component coverage", "coverage", "block coverage", "dead", "duplicate", "kept",
// "kept layer", "problem".
std::vector<std::string> json_lines(const Inspection& found);

// The parts about LoRAs.
void add_lora_text(const Inspection& found, bool verbose, std::vector<std::string>& lines);
void add_lora_json(const Inspection& found, std::vector<std::string>& lines);

std::string_view naming_name(models::Naming naming);

}  // namespace mflux::cli
