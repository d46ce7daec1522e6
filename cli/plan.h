// SPDX-License-Identifier: MIT
#pragma once

#include "cli/console.h"
#include "mflux/options.h"

namespace mflux::cli {

void print_plan(const Plan& plan, const lora::Loaded& loras, Console& console);
int print_plan(const SaveOptions& options, const ConsoleOptions& console);  // --dry-run

}  // namespace mflux::cli
