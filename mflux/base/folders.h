// SPDX-License-Identifier: MIT
// Replacing, renaming and removing folders.
#pragma once

#include <filesystem>
#include <string>

namespace mflux {

// Puts the folder `fresh` in the place of the folder `old`: at once where the system can, so that
// `old` then has the name of `fresh`; otherwise in two steps, the first of which names it `aside`
// and is undone if the second fails. Returns the name that `old` has now. Throws Error; `old` is
// then where it was.
std::filesystem::path swap_folders(
    const std::filesystem::path& fresh,
    const std::filesystem::path& old,
    const std::filesystem::path& aside);

// Renames a folder to a name that nothing has. Throws Error, also if something has it.
void move_folder(const std::filesystem::path& folder, const std::filesystem::path& to);

// Removes a folder and all in it, folders without write permission too. Says what could not be
// removed; "" if all is gone.
std::string remove_folder(const std::filesystem::path& folder);

}  // namespace mflux
