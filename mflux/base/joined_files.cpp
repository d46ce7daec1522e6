// SPDX-License-Identifier: MIT
#include "mflux/base/joined_files.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mflux {

JoinedFiles::JoinedFiles(std::span<const std::filesystem::path> paths) {
  uint64_t end = 0;
  for (const std::filesystem::path& path : paths) {
    File file = File::open(path);
    const uint64_t bytes = file.size();
    places_.push_back({.begin = end, .bytes = bytes, .file = std::move(file)});
    end += bytes;
  }
}

void JoinedFiles::read(uint64_t offset, std::span<std::byte> out) const {
  if (out.empty()) return;
  const auto next = std::ranges::upper_bound(places_, offset, {}, &Place::begin);
  const Place& place = *std::prev(next);  // of empty files at the same place the last, which is not
  place.file.read(offset - place.begin, out);
}

}  // namespace mflux
