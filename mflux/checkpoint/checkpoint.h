// SPDX-License-Identifier: MIT
// A model on disk, opened by its headers: which family it is, in whose naming, and where every
// tensor lies.
//
//   const Checkpoint model = open_checkpoint("Qwen-Image");
//   for (const Component& component : model.components) ...
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
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
};

struct Checkpoint {
  std::filesystem::path path;
  bool single_file = false;
  bool bare = false;  // a transformer's own folder: its files lie in `path` itself
  const models::Family* family = nullptr;
  models::Naming naming = models::Naming::diffusers;
  std::vector<Component> components;     // in the family's order
  std::vector<std::string> copied;       // small files that go along, relative to path, sorted
  std::vector<FileStamp> copied_stamps;  // of those, as they were when the model was opened
};

// Where one of the `copied` files lies; in the output it has the name that it has in `copied`.
std::filesystem::path copied_source(const Checkpoint& model, const std::string& file);

// `path`: a diffusers folder, a folder saved by mflux, the folder of a transformer alone, or one
// .safetensors file that is no shard. `base_model`:
// --base-model, for files that cannot tell. Throws Error: nothing there, an unknown or unexpected
// family, a malformed file.
Checkpoint open_checkpoint(
    const std::filesystem::path& path, const std::optional<std::string>& base_model = {});

// The parts of open_checkpoint(), for who wants to look at what is no model of ours.
//
// One component: folder `name` of the folder `path`, or `path` itself, folder or file, if `name` is
// empty.
Component open_component(const std::filesystem::path& path, const std::string& name);
// Every component there is; the family is not known yet (null) and nothing is copied.
Checkpoint open_tensors(const std::filesystem::path& path);
// Fills in the rest; a component that the family does not have goes. On an Error nothing is
// changed.
void identify(Checkpoint& model, const std::optional<std::string>& base_model);

}  // namespace mflux
