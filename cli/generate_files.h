// SPDX-License-Identifier: MIT
// Prompts that a generation reads, and names of the pictures that it writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mflux::cli {

// The prompt in a file ("-": standard input), as Python's mflux reads it: ends of lines as \n, no
// white space around it; and no byte order mark. Throws Error for text that is not UTF-8, or blank.
std::string read_prompt(const std::string& file);

// Refuses what was given as `option` if it is not UTF-8.
void check_text(std::string_view option, std::string_view text);

// Refuses, before anything is computed, a name that is not a PNG's or a folder that cannot be
// written.
void check_output(const std::filesystem::path& output);

// `output` with {seed} replaced; with several seeds and no {seed}, "_seed_N" before the suffix. A
// name that is taken gets "_1", "_2", ... as in Python's mflux.
std::filesystem::path picture_path(
    const std::filesystem::path& output, uint64_t seed, bool several_seeds);

}  // namespace mflux::cli
