// SPDX-License-Identifier: MIT
// What belongs together in a LoRA file: the tensors of one module, under the name the file gives
// it.
#pragma once

#include <string>
#include <vector>

#include "mflux/lora/grammar.h"
#include "mflux/lora/names.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct Part {
  Parameter parameter = Parameter::down;
  const safetensors::TensorInfo* info = nullptr;
  std::string ending = {};  // of the key, without wrappers and the adapter's name: ".lokr_w1"
};

struct Module {
  std::string name;  // as the file spells it
  std::vector<Part> parts;
  Place place = {};

  const safetensors::TensorInfo* find(Parameter parameter) const;  // null: none
  std::string keys() const;                                        // "a.lora_A.weight, a.alpha"
};

}  // namespace mflux::lora
