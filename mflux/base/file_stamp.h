// SPDX-License-Identifier: MIT
// Whether a file is still the one that was looked at: a save plans from headers and reads for
// minutes, and what it read must be what it planned with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "mflux/base/file.h"

namespace mflux {

struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  int64_t changed_ns = 0;  // of its contents, since 1970

  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const File& file);
FileStamp stamp_of(const std::filesystem::path& path);  // links are read through
std::vector<FileStamp> stamps_of(std::span<const std::filesystem::path> paths);

// Throws Error, naming the file, if under `path` there is another file than the stamp's, or if it
// was written to since.
void check_unchanged(const std::filesystem::path& path, const FileStamp& stamp);
void check_unchanged(
    std::span<const std::filesystem::path> paths, std::span<const FileStamp> stamps);

}  // namespace mflux
