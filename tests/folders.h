// SPDX-License-Identifier: MIT
// What a folder holds, to be compared with what it held before or with another one.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/testing.h"

namespace mflux::testing {

using FolderContents = std::map<std::string, std::string>;  // relative path -> bytes; "" of folders

// Hidden files too; of a link where it leads to.
inline FolderContents contents_of(const std::filesystem::path& folder) {
  FolderContents contents;
  if (!std::filesystem::exists(folder)) return contents;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (entry.is_symlink())
      contents[name] = "-> " + std::filesystem::read_symlink(entry.path()).string();
    else if (entry.is_directory())
      contents[name + "/"] = "";
    else
      contents[name] = read_file(entry.path());
  }
  return contents;
}

// The names of what differs; empty if the folders are alike.
inline std::vector<std::string> differences(const FolderContents& a, const FolderContents& b) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : a) {
    const auto other = b.find(name);
    if (other == b.end() || other->second != bytes) names.push_back(name);
  }
  for (const auto& [name, bytes] : b) {
    if (a.count(name) == 0) names.push_back(name);
  }
  return names;
}

inline void flip_byte(const std::filesystem::path& file, uint64_t offset) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.put(byte);
  if (!stream.flush()) fail("{}: cannot flip byte {}", file.string(), offset);
}

// Replaces the first `from` of a text file; it must be there.
inline void replace_in(
    const std::filesystem::path& file, std::string_view from, std::string_view to) {
  std::string text = read_file(file);
  const size_t at = text.find(from);
  if (at == std::string::npos) fail("{}: does not hold '{}'", file.string(), from);
  write_file(file, text.replace(at, from.size(), to));
}

}  // namespace mflux::testing
