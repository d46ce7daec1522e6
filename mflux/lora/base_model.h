// SPDX-License-Identifier: MIT
// What LoRAs are applied to: a model's layers under all their names, and the shapes behind them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mflux/base/tensor.h"
#include "mflux/lora/family.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

struct BaseModel {
  // None: no model is known.
  const Family* family = nullptr;
  // All there are, its own among them.
  Families families = {};
  // For people: "FLUX.1".
  std::string title = {};
  // Canonical tensors of every component the family has; none in a component that is not being
  // written.
  std::map<std::string, std::map<std::string, Shape>> components = {};
  std::vector<Target> targets = {};
};

}  // namespace mflux::lora
