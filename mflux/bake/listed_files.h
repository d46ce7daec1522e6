// SPDX-License-Identifier: MIT
// Whether a receipt answers for all that a folder holds: every file that a reader of models would
// load is one that the receipt lists, and every component has the files that it says.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/bake/receipt.h"

namespace mflux {

// Whether a program that reads models (ours, mflux, diffusers, transformers, ComfyUI) may load or
// run a file of this name: weights, indexes, configurations, tokenizers, code. Not what lies next
// to a model for people: pages, pictures and their recipes, licences, what the system leaves.
bool is_loaded_by_readers(std::string_view file_name);

// Those in `folder` and below, hidden or not, links read through, that `outputs` does not list.
std::vector<std::string> unlisted_files(
    const std::filesystem::path& folder, const std::vector<FileRecord>& outputs);

// What the receipt says of its components and does not list: "vae: 1 of 2 shards".
std::vector<std::string> unlisted_components(const Receipt& receipt);

}  // namespace mflux
