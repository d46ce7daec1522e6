// SPDX-License-Identifier: MIT
// Several safetensors files and their index, read as one set of tensors.
//
//   const TensorFolder folder = open_folder("model/transformer");
//   for (const StoredTensor& tensor : folder.tensors) ...
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/base/file.h"
#include "mflux/base/file_stamp.h"
#include "mflux/safetensors/header.h"
#include "mflux/safetensors/index.h"

namespace mflux::safetensors {

struct OpenedFile {
  std::string name;  // within the folder
  File file;
  Header header;         // without its tensors, which are the folder's
  FileStamp stamp = {};  // as it was when it was opened
};

struct StoredTensor {
  size_t file = 0;  // index into TensorFolder::files
  TensorInfo info;
};

struct TensorFolder {
  std::filesystem::path path;
  std::vector<OpenedFile> files;      // sorted by name, numbers by value
  std::vector<StoredTensor> tensors;  // by file, then offset
  std::vector<uint32_t> by_name;      // indexes into `tensors`, sorted by name
  std::string index_name;             // "" without an index

  const StoredTensor* find(std::string_view name) const;
  // The value of a metadata key in the first file that has it; "" if none has.
  std::string_view metadata(std::string_view key) const;
};

// The shards that *.safetensors.index.json names, or every *.safetensors file where there is no
// index. A variant ("model.fp16.safetensors") is read only where no main file is. Throws Error if
// there is nothing to read, if the index names a file outside the folder or one that is not there,
// if a numbered shard is missing, if index and files disagree, or if two files hold the same name.
TensorFolder open_folder(const std::filesystem::path& folder);

TensorFolder open_file(const std::filesystem::path& file);  // one file as a set

// How many files the folder's index names, if `file` is one of them; else 0.
uint64_t files_in_index(const std::filesystem::path& folder, const std::string& file);

}  // namespace mflux::safetensors
