// SPDX-License-Identifier: MIT
// Several files as one range of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace mflux {

// The bytes of files one after the other, each from the beginning of a page, read-only, paged in
// as they are touched. What lies between two files may not be read.
class MappedFiles {
 public:
  explicit MappedFiles(std::span<const std::filesystem::path> paths);
  MappedFiles(MappedFiles&& other) noexcept;
  MappedFiles& operator=(MappedFiles&& other) noexcept;
  MappedFiles(const MappedFiles&) = delete;
  MappedFiles& operator=(const MappedFiles&) = delete;
  ~MappedFiles();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Where each file lies in them: its first byte and the one after its last.
  struct Place {
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  const std::vector<Place>& places() const { return places_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::vector<Place> places_ = {};
};

}  // namespace mflux
