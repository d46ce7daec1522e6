// SPDX-License-Identifier: MIT
// What LoRAs are applied to: a model's layers under all their names, and the shapes behind them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

struct BaseModel {
  std::string family = {};  // "flux", "qwen"
  std::string title = {};   // for people: "FLUX.1"
  // Canonical tensors of every component the family has; none in a component that is not being
  // written.
  std::map<std::string, std::map<std::string, Shape>> components = {};
  std::vector<Target> targets = {};
};

}  // namespace mflux::lora
