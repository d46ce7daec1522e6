// SPDX-License-Identifier: MIT
// A folder of shards and the index that names them.
#include "fuzz/input.h"
#include "mflux/safetensors/folder.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr const char* kIndex = "model.safetensors.index.json";
  static Folder folder;
  const auto entries = split(text_of(data, size), kIndex);
  const Laid laid(folder, entries);
  refusable([] {
    const auto opened = safetensors::open_folder(folder.path());
    for (const auto& tensor : opened.tensors) opened.find(tensor.info.name);
    opened.metadata("quantization_level");
  });
  if (!std::filesystem::exists(folder.path() / kIndex)) return 0;
  refusable([kIndex] { safetensors::files_of_index(folder.path() / kIndex); });
  refusable([kIndex] { safetensors::index_total_size(folder.path() / kIndex); });
  return 0;
}

}  // namespace mflux::fuzz
