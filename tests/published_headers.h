// SPDX-License-Identifier: MIT
// Headers of the published models, as tests/oracle/models_*.py wrote them: tests/data/models/*.txt.
//
//   # transformer
//   transformer_blocks.{0-18}.attn.to_q.weight BF16 3072 3072
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "mflux/base/error.h"
#include "mflux/models/family.h"

namespace mflux::testing {

// The file's tensors by component. Of a range {0-18}, `blocks` (if any) are kept; a VAE keeps all.
inline std::map<std::string, models::SourceComponent> read_published_headers(
    const std::filesystem::path& file, int blocks = -1) {
  std::map<std::string, models::SourceComponent> components;
  std::ifstream in(file);
  if (!in) fail("{}: cannot read", file.string());
  models::SourceComponent* current = nullptr;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    std::string dtype;
    words >> name >> dtype;
    if (name == "#") {
      current = &components[dtype];
      current->name = dtype;
      continue;
    }
    TensorSpec spec{.dtype = parse_dtype(dtype).value(), .shape = {}};
    for (uint64_t size = 0; words >> size;) spec.shape.push_back(size);
    const size_t open = name.find('{');
    if (open == std::string::npos) {
      current->tensors.push_back({.name = name, .spec = spec});
      continue;
    }
    const size_t close = name.find('}');
    const size_t dash = name.find('-', open);
    const int first = std::stoi(name.substr(open + 1, dash - open - 1));
    int last = std::stoi(name.substr(dash + 1, close - dash - 1));
    if (blocks >= 0 && current->name != "vae") last = std::min(last, blocks - 1);
    for (int i = first; i <= last; ++i) {
      const std::string full = name.substr(0, open) + std::to_string(i) + name.substr(close + 1);
      current->tensors.push_back({.name = full, .spec = spec});
    }
  }
  return components;
}

}  // namespace mflux::testing
