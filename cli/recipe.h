// SPDX-License-Identifier: MIT
// How a picture was made, as JSON inside its PNG, and back into options.
#pragma once

#include <filesystem>
#include <string>

#include "mflux/generate.h"

namespace mflux::cli {

// One picture of `seed`; options as they were asked for, with what was left open filled in.
std::string format_recipe(const GenerateOptions& options, const GeneratePlan& plan, uint64_t seed);

// The recipe in a PNG file that this program wrote. Throws Error if there is none.
GenerateOptions read_recipe(const std::filesystem::path& png);

}  // namespace mflux::cli
