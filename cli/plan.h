// SPDX-License-Identifier: MIT
#pragma once

#include "cli/console.h"
#include "mflux/options.h"

namespace mflux::cli {

int print_plan(const SaveOptions& options, const ConsoleOptions& console);  // --dry-run

}  // namespace mflux::cli
