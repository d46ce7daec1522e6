// SPDX-License-Identifier: MIT
// What the name of a weights file says: which variant of the model it holds, and whether it is one
// of several shards. The forms are those of diffusers and transformers:
//
//   model.safetensors                          model.fp16.safetensors
//   model-00001-of-00002.safetensors           model-00001-of-00002.fp16.safetensors
//                                              model.fp16-00001-of-00002.safetensors
//   model.safetensors.index.json               model.safetensors.index.fp16.json
//                                              model.fp16.safetensors.index.json
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mflux::safetensors {

struct FileName {
  bool index = false;
  std::string stem = {};     // "model"
  std::string variant = {};  // "fp16"; "" of the main files
  uint64_t shard = 0;        // from 1; 0: not one of several
  uint64_t shards = 0;
};

// None unless it is the name of a safetensors file or an index; nor for what the system keeps next
// to a file of that name ("._model.safetensors").
std::optional<FileName> parse_file_name(std::string_view name);

// What a broken link points to; none if `path` is not one.
std::optional<std::string> dangling_target(const std::filesystem::path& path);

}  // namespace mflux::safetensors
