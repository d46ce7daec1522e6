// SPDX-License-Identifier: MIT
// `mflux save --job`: several outputs at once.
#pragma once

#include "cli/console.h"
#include "mflux/job.h"

namespace mflux::cli {

int run_job(const JobOptions& options, const ConsoleOptions& console);
int print_job_plan(const JobOptions& options, const ConsoleOptions& console);  // --dry-run

// The result of one save, as text or as JSON.
void print_report(
    Console& console, const SaveOptions& options, const SaveReport& report, double seconds);

}  // namespace mflux::cli
