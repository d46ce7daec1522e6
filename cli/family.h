// SPDX-License-Identifier: MIT
// The names that end in -qwen refuse another family.
#pragma once

#include <optional>
#include <string>

#include "cli/commands.h"

namespace mflux::cli {

void check_family(
    const Program& program, const std::string& model, const std::optional<std::string>& base_model);

}  // namespace mflux::cli
