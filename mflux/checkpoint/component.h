// SPDX-License-Identifier: MIT
// A component of a model on disk (transformer, text encoder, VAE): its files and its tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mflux/base/quantization.h"
#include "mflux/models/family.h"
#include "mflux/safetensors/folder.h"

namespace mflux {

// A tensor as the model sees it: one stored tensor, or the two or three that a packed matrix is
// made of.
struct LogicalTensor {
  std::string name = {};
  TensorSpec spec = {};  // unpacked shape; dtype of the values (packed: of the scales)
  std::optional<QuantFormat> format = {};  // set if packed
  size_t file = 0;                         // index into Component::folder.files; the weight's
  uint64_t offset = 0;                     // bytes, the weight's
  const safetensors::StoredTensor* scales = nullptr;
  const safetensors::StoredTensor* biases = nullptr;

  uint64_t stored_row_bytes() const;  // bytes of one row of the weight as stored
};

struct Component {
  std::string name;  // "transformer"
  safetensors::TensorFolder folder;
  std::vector<LogicalTensor> tensors;  // by file, then offset
  models::SourceComponent source;      // the same list, for the model tables

  bool tells_formats() const;  // its metadata says how matrices are packed
};

// One component: folder `name` of the folder `path`, or `path` itself, folder or file, if `name` is
// empty.
Component open_component(const std::filesystem::path& path, const std::string& name);

}  // namespace mflux
