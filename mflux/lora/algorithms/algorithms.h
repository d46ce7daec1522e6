// SPDX-License-Identifier: MIT
// From a module's tensors to the algorithm they mean, and to updates of the module's target.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "mflux/lora/algorithms/algorithm.h"

namespace mflux::lora {

// All of them, in the order they are tried.
std::span<const Algorithm* const> algorithms();

// Decides by the parameters that are there; any that are missing or too many are a refusal.
struct Classified {
  // Null: the parameters are not a complete set of any.
  const Algorithm* algorithm = nullptr;
  std::optional<Refusal> refusal = {};
  // For people, of what is not supported too: "LoRA", "LoKr".
  std::string_view title = {};
};
Classified classify(const Module& module);

// The module's target is known, and so is its algorithm.
Built build(
    const Module& module, const Algorithm& algorithm, const FileContext& file, Notes& notes);

}  // namespace mflux::lora
