// SPDX-License-Identifier: MIT
// A safetensors file: its header is read, and what was read and written again is the same.
#include "fuzz/input.h"
#include "mflux/safetensors/folder.h"

namespace mflux::fuzz {
namespace {

void written_again(const safetensors::Header& header) {
  std::vector<safetensors::TensorInfo> tensors = header.tensors;
  const std::string text = safetensors::format_header(tensors, header.metadata);
  uint64_t bytes = text.size();
  for (const safetensors::TensorInfo& tensor : tensors) bytes += tensor.bytes;
  const auto again = safetensors::parse_header(std::string_view(text).substr(8), bytes, "again");
  require(again.metadata == header.metadata, "the same metadata");
  require(again.tensors == tensors, "the same tensors");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  const Laid laid(folder, {{"x.safetensors", text_of(data, size)}});
  refusable([] {
    const auto read = safetensors::open_file(folder.path() / "x.safetensors");
    written_again(read.files.front().header);
  });
  return 0;
}

}  // namespace mflux::fuzz
