// SPDX-License-Identifier: MIT
// Scales for parts of a LoRA, on top of its own: "double:0-5=0.5,single=0.8,text_encoder=0".
//
//   argument := part '=' scale { ',' part '=' scale }
//   part     := '*' | component | [component '/'] blocks [':' which] | layer
//   which    := '*' | number | first '-' last
//
// `blocks` is a list of blocks under any name the model's tables have for it, or the beginning of
// one up to an underscore: double, double_blocks, transformer_blocks. `layer` is one that stands in
// no block: x_embedder. Of several parts that hold a layer the last counts; the others have 1.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/lora/base_model.h"

namespace mflux::lora {

class BlockScales {
 public:
  // Throws Error of kind usage that names the part that is malformed or means nothing in the model.
  BlockScales(std::string_view text, const BaseModel& model);

  // The factor of a layer.
  double of(const Target& target);

  // Is a whole component left out ("text_encoder=0"), so that it need not be there.
  bool leaves_out(std::string_view component);

  // Parts that no call so far made use of, as they were written.
  std::vector<std::string> unused() const;

 private:
  struct Part {
    std::string text;
    double scale = 1;
    bool used = false;
  };

  double use(size_t part);

  std::vector<Part> parts_;
  std::map<std::string, size_t> by_tensor_;                  // "component/tensor" -> part
  std::map<std::string, size_t, std::less<>> by_component_;  // the last part that is all of it
};

}  // namespace mflux::lora
