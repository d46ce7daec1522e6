// SPDX-License-Identifier: MIT
// model.safetensors.index.json: which file holds which tensor.
//
//   {"metadata": {"total_size": 8}, "weight_map": {"a": "model-00001-of-00002.safetensors", ...}}
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/safetensors/header.h"

namespace mflux::safetensors {

struct Index {
  struct Entry {
    std::string tensor;
    uint32_t file = 0;  // index into `files`
  };

  std::vector<std::string> files = {};      // sorted, numbers by value
  std::vector<Entry> entries = {};          // sorted by tensor
  std::optional<uint64_t> total_size = {};  // of the metadata; none if they do not tell

  const std::string* file_of(std::string_view tensor) const;
};

// Throws Error unless it is JSON with a weight_map of names of files in its own folder: no path, no
// tensor twice, no more tensors than one folder may have (kMaxTensors).
Index read_index(const std::filesystem::path& path);

std::vector<std::string> files_of_index(const std::filesystem::path& index);
std::optional<uint64_t> index_total_size(const std::filesystem::path& index);

struct IndexEntry {
  std::string tensor;
  std::string file;
};

// The text of an index: Hugging Face's format, metadata first, keys sorted.
std::string format_index(
    std::span<const IndexEntry> entries, const Metadata& metadata, uint64_t total_size);

// "2" before "10": compares runs of digits by value.
bool natural_less(std::string_view a, std::string_view b);

}  // namespace mflux::safetensors
