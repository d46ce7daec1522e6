// SPDX-License-Identifier: MIT
// Names of files that other files bring, and folders with links in them. All of it goes by name:
// where a link leads is nobody's business but the reader's.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mflux {

// Whether `name` is that of a file inside a folder, as it may stand in a receipt or behind a
// repository: relative, forward slashes, no "." or "..", no empty part, no NUL.
bool stays_inside(std::string_view name);

// Whether `path` is `folder` or below it. Both absolute and normal.
bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder);

// Whether something of that name is there. Throws Error for a link that leads nowhere, and where
// the system does not say.
bool is_there(const std::filesystem::path& path);

// Files that macOS leaves next to others: ".DS_Store", "._x".
bool is_system_file(std::string_view name);

// The files in `folder` and its folders, relative to it, with forward slashes, sorted. Links are
// read through, system files left out. Throws Error for a link that leads nowhere or to a folder
// that contains it, for what is neither file nor folder, and for more than 1,000 files.
std::vector<std::string> files_below(const std::filesystem::path& folder);

}  // namespace mflux
