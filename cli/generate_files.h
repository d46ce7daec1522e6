// SPDX-License-Identifier: MIT
// Names of the pictures that a generation writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace mflux::cli {

// Refuses, before anything is computed, a name that is no PNG or a folder that cannot be written.
void check_output(const std::filesystem::path& output);

// `output` with {seed} replaced; with several seeds and no {seed}, "_seed_N" before the suffix. A
// name that is taken gets "_1", "_2", ... as in Python's mflux.
std::filesystem::path picture_path(
    const std::filesystem::path& output, uint64_t seed, bool several_seeds);

}  // namespace mflux::cli
