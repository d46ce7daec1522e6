// SPDX-License-Identifier: MIT
// Several files as one range of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "mflux/base/file.h"

namespace mflux {

// The bytes of files one after the other. They are read when they are asked for, never mapped: a
// file that becomes shorter meanwhile is an Error, not the end of the process.
class JoinedFiles {
 public:
  explicit JoinedFiles(std::span<const std::filesystem::path> paths);

  // All of `out`, from `offset`; the range must lie within one of the files.
  void read(uint64_t offset, std::span<std::byte> out) const;

  // Where each file begins in the range, and the file itself.
  struct Place {
    uint64_t begin = 0;
    uint64_t bytes = 0;
    File file;
  };
  const std::vector<Place>& places() const { return places_; }

 private:
  std::vector<Place> places_ = {};
};

}  // namespace mflux
