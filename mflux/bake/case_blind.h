// SPDX-License-Identifier: MIT
// Many disks, most Macs' among them, ignore case: of two outputs whose names differ in nothing
// else, the second would replace the first.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mflux {

// The same for two paths that such a disk takes for one: composed (NFC), in lower case.
std::filesystem::path without_case(const std::filesystem::path& path);

// Refuses relative names that differ only in case; `where` begins the message.
void check_told_apart(const std::string& where, const std::vector<std::string>& names);

}  // namespace mflux
