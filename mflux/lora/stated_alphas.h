// SPDX-License-Identifier: MIT
// Alphas that a file states and that count for nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "mflux/lora/file_context.h"
#include "mflux/lora/module.h"

namespace mflux::lora {

struct UnusedAlpha {
  std::string why = {};
  std::string where = {};                        // module, or where the file states it
  const safetensors::TensorInfo* key = nullptr;  // if a tensor states it
};

// `modules` with their places resolved.
std::vector<UnusedAlpha> unused_alphas(
    std::span<const Module> modules,
    const FileContext& file,
    const safetensors::Metadata& metadata);

}  // namespace mflux::lora
