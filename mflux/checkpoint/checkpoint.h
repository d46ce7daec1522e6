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

#include "mflux/checkpoint/component.h"

namespace mflux {

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
// .safetensors file that is not a shard. `base_model`: the family or a known model, for files that
// do not show it. Throws Error: nothing there, an unknown or unexpected family, a malformed file.
Checkpoint open_checkpoint(
    const std::filesystem::path& path, const std::optional<std::string>& base_model = {});

// The two halves of open_checkpoint(), for looking at what may be another program's model.
//
// Every component there is; the family is not known yet (null) and nothing is copied.
Checkpoint open_tensors(const std::filesystem::path& path);
// Fills in the rest; a component that the family does not have goes. On an Error nothing is
// changed.
void identify(Checkpoint& model, const std::optional<std::string>& base_model);

}  // namespace mflux
