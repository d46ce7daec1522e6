// SPDX-License-Identifier: MIT
// The files of one LoRA.
#pragma once

#include <filesystem>
#include <vector>

namespace mflux::lora {

// `path`: a file, the index of a sharded LoRA (X.safetensors.index.json), or a folder of shards
// (X-00001-of-00002.safetensors, ...). Throws Error: of kind lora if a shard is not there or only
// one of them is given, else for an index that cannot be read.
std::vector<std::filesystem::path> lora_files(const std::filesystem::path& path);

}  // namespace mflux::lora
