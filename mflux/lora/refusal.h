// SPDX-License-Identifier: MIT
// Why a module, or a whole file, cannot be applied.
#pragma once

#include <optional>
#include <string>

#include "mflux/base/joined_files.h"
#include "mflux/lora/adapter.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct Refusal {
  ProblemKind kind = ProblemKind::unknown_key;
  std::string message;
  // Of a shape that does not fit, for the log.
  std::string shapes = {};
};

// What keeps the numbers of a tensor from being used: none there, no floats, not finite.
std::optional<Refusal> check_values(const safetensors::TensorInfo& info, const JoinedFiles& file);

}  // namespace mflux::lora
