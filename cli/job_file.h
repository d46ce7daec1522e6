// SPDX-License-Identifier: MIT
// A job as people write it: a TOML file with one table per output. docs/jobs.md describes it.
#pragma once

#include <filesystem>

#include "mflux/job.h"

namespace mflux::cli {

// Throws a usage Error that names file, line, key, what was found and what is expected.
JobOptions read_job_file(const std::filesystem::path& file);

}  // namespace mflux::cli
