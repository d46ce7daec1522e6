// SPDX-License-Identifier: MIT
// Small models on disk, whose numbers are all zero: their files are holes but for the headers.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mflux/models/family.h"
#include "mflux/safetensors/header.h"
#include "tests/models/headers.h"
#include "tests/testing.h"

namespace mflux::testing {

inline void write_zeros(
    const std::filesystem::path& path,
    const models::SourceComponent& source,
    const safetensors::Metadata& metadata = {}) {
  std::vector<safetensors::TensorInfo> infos;
  uint64_t bytes = 0;
  for (const models::SourceComponent::Tensor& tensor : source.tensors) {
    infos.push_back({tensor.name, tensor.spec, 0, 0});
    bytes += tensor.spec.bytes();
  }
  const std::string header = safetensors::format_header(infos, metadata);
  std::filesystem::create_directories(path.parent_path());
  write_file(path, header);
  std::filesystem::resize_file(path, header.size() + bytes);
}

// FLUX.1-dev's transformer with two blocks of each kind and narrow layers.
inline models::SourceComponent tiny_flux() {
  using namespace models::testing;
  return tiny(load_component("flux-dev.txt", "transformer"), kFluxNarrow);
}

inline models::SourceComponent tiny_qwen() {
  using namespace models::testing;
  return tiny(
      load_component("qwen-image.txt", "transformer"),
      {{3072, 64}, {12288, 192}, {18432, 384}, {6144, 128}, {3584, 48}, {128, 16}});
}

}  // namespace mflux::testing
