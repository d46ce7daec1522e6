// SPDX-License-Identifier: MIT
// "Unchanged" is what the system says of a file (device, inode, size, time of the last write), not
// its contents: a second read of the model would double the time of a save. The stamps were taken
// when the model and the LoRAs were opened.
#include "mflux/bake/inputs.h"

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

void check_name(const fs::path& folder, const std::string& name) {
  const size_t at = invalid_utf8(name);
  if (at == std::string::npos) return;
  fail(
      "{}: byte {} of the name '{}' is not UTF-8, and the receipt could not hold it: rename the "
      "file",
      folder.string(),
      at,
      name);
}

}  // namespace

void check_input_names(const Checkpoint& model, const lora::Loaded& loras) {
  for (const Component& component : model.components) {
    for (const auto& file : component.folder.files) check_name(component.folder.path, file.name);
  }
  for (const std::string& file : model.copied) check_name(model.path, file);
  for (const lora::Adapter& adapter : loras.adapters) {
    for (const fs::path& file : adapter.files) {
      check_name(file.parent_path(), file.filename().string());
    }
  }
}

void check_inputs_unchanged(const Checkpoint& model, const lora::Loaded& loras) {
  for (const Component& component : model.components) {
    for (const auto& file : component.folder.files) {
      check_unchanged(component.folder.path / file.name, file.stamp);
    }
  }
  for (size_t i = 0; i < model.copied.size(); ++i) {
    check_unchanged(copied_source(model, model.copied[i]), model.copied_stamps[i]);
  }
  for (const lora::Adapter& adapter : loras.adapters) {
    check_unchanged(adapter.files, adapter.stamps);
  }
}

const File& file_of_lora(const lora::Adapter& adapter, size_t file) {
  return adapter.file->places()[file].file;
}

}  // namespace mflux
