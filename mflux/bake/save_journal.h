// SPDX-License-Identifier: MIT
// What a save has finished so far, in a hidden file of its folder: the same save continues from it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "mflux/bake/sums.h"

namespace mflux {

// A shard whose bytes are on the device.
struct FinishedShard {
  std::string hash = {};  // XXH3-128 of the file
  uint64_t bytes = 0;     // of the file
  // What the file is called, in the same folder, as long as it does not have its own name.
  std::string temporary = {};
  std::map<std::string, BakeSums> baked = {};  // by name of the planned tensor
};

struct SaveJournal {
  std::string fingerprint = {};                      // of the save
  std::string job = {};                              // of the job whose outputs are all published
  std::map<std::string, FinishedShard> shards = {};  // by file, relative to the folder
};

std::filesystem::path journal_path(const std::filesystem::path& folder);

// Nothing if there is none, or none that makes sense.
std::optional<SaveJournal> read_journal(const std::filesystem::path& folder);
void write_journal(const std::filesystem::path& folder, const SaveJournal& journal);

}  // namespace mflux
