// SPDX-License-Identifier: MIT
// For which model a LoRA was made, as far as the file says.
#pragma once

#include <string>
#include <string_view>

#include "mflux/safetensors/header.h"

namespace mflux::lora {

// "flux", "qwen", or the name of a model that is not ours ("SDXL"); "" if the metadata say nothing.
std::string_view metadata_family(const safetensors::Metadata& metadata);

// For people: "FLUX.1" of "flux"; a name that is not ours is returned as it is.
std::string_view family_title(std::string_view family);

// What the names of the transformer's modules say.
class NameEvidence {
 public:
  void add(std::string_view module);  // as the file spells it
  std::string_view family() const;    // "flux", "qwen", or "" if they say nothing or both

 private:
  bool flux_ = false;
  bool qwen_ = false;
  bool inputs_ = false;  // img_in or txt_in: Qwen, unless it is BFL's
};

// Which model an unknown module of the transformer looks made for, other than `family`; "" if none.
std::string_view lookalike(std::string_view module, std::string_view family);

}  // namespace mflux::lora
