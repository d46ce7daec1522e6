// SPDX-License-Identifier: MIT
#include "mflux/lora/module.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace mflux::lora {

const safetensors::TensorInfo* Module::find(Parameter parameter) const {
  const auto found = std::ranges::find(parts, parameter, &Part::parameter);
  return found == parts.end() ? nullptr : found->info;
}

std::string Module::keys() const {
  constexpr size_t kMostShown = 16;  // more than any algorithm has; each key's record repeats it
  std::string keys;
  for (const Part& part : std::span(parts).first(std::min(parts.size(), kMostShown))) {
    if (!keys.empty()) keys += ", ";
    keys += part.info->name;
  }
  if (parts.size() > kMostShown) keys += fmt::format(" and {} more", parts.size() - kMostShown);
  return keys;
}

}  // namespace mflux::lora
