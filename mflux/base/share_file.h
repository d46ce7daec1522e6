// SPDX-License-Identifier: MIT
// Files with the same bytes that take up space once.
#pragma once

#include <filesystem>

namespace mflux {

// Makes `target` a file with the same bytes, in the cheapest way there is: sharing blocks until one
// of the two is changed (reflink), a second name for the same file (hard link), or a copy.
// A file that is there is replaced; the new one appears whole or not at all.
void share_file(const std::filesystem::path& source, const std::filesystem::path& target);

}  // namespace mflux
