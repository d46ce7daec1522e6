// SPDX-License-Identifier: MIT
// Options of `mflux generate` that were given but change nothing: not an error, but worth a note.
#pragma once

#include <string>
#include <vector>

#include "mflux/generate.h"

namespace CLI {
class App;
}

namespace mflux::cli {

std::vector<std::string> without_effect(  // a sentence each
    const CLI::App& app,
    const GenerateOptions& options,
    const GeneratePlan& plan);

}  // namespace mflux::cli
