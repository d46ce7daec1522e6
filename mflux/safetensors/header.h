// SPDX-License-Identifier: MIT
// The header of a safetensors file, read strictly: after this, no offset needs checking again.
//
//   u64 little-endian N | N bytes of JSON, padded with spaces | tensor data, without holes
//
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "mflux/base/file.h"
#include "mflux/base/tensor.h"

namespace mflux::safetensors {

struct TensorInfo {
  std::string name;
  TensorSpec spec;
  uint64_t offset = 0;  // bytes from the start of the file
  uint64_t bytes = 0;

  bool operator==(const TensorInfo&) const = default;
};

// No model comes near these. What is made of a header takes several times its text.
constexpr size_t kMaxTensors = 100'000;  // of a file and of a folder
constexpr size_t kMaxNameBytes = 1000;

using Metadata = std::map<std::string, std::string>;

struct Header {
  std::vector<TensorInfo> tensors;  // by offset
  Metadata metadata;
  uint64_t data_begin = 0;  // bytes from the start of the file
  uint64_t file_bytes = 0;

  const TensorInfo* find(std::string_view name) const;
};

// Throws Error (file, tensor, found, expected) unless the file is well-formed to the last byte:
// header length, JSON, duplicate names, dtypes, shapes, offsets that neither overlap nor leave
// holes, size of the file; and if it has more than 100 MB, 100,000 tensors, 10,000 keys of
// metadata, or a name longer than 1000 bytes.
Header read_header(const File& file);

// The same on the first bytes of a file: `text` is the JSON, `file_bytes` the whole file's size.
Header parse_header(std::string_view text, uint64_t file_bytes, std::string_view file_name);

// The bytes before the data: length and JSON with tensors in the order given, padded so that data
// begins at a multiple of 64. Fills in each tensor's offset; sizes follow from the specs.
std::string format_header(std::vector<TensorInfo>& tensors, const Metadata& metadata);

}  // namespace mflux::safetensors
