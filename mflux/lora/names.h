// SPDX-License-Identifier: MIT
// From a module's name in any dialect to the target it means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mflux/lora/base_model.h"

namespace mflux::lora {

// What a module's name turned out to be.
struct Place {
  const Target* target = nullptr;  // none: the model has no such layer
  std::string component;           // that the prefix says
  std::string name;                // without prefixes; the target's alias if there is one
  std::string_view dialect;        // whose prefix it is; "" if that of a text encoder
};

// The names of a model, dotted and flat ("." -> "_"). No name is ever taken apart: flat names are
// looked up whole.
class Names {
 public:
  explicit Names(const BaseModel& model);
  Names(const Names&) = delete;
  Names& operator=(const Names&) = delete;

  // `module` without what wrappers put into names (safetensors/wrappers.h).
  Place resolve(std::string_view module) const;

  // The known name that looks most like an unknown one, or "": only so many different names are
  // compared.
  std::string nearest(const Place& unknown);

  // If only the block number is unknown: what to say about it. Else "".
  std::string missing_block(const Place& unknown) const;

 private:
  struct Component {
    std::unordered_map<std::string_view, const Target*> dotted;  // views of targets_
    std::unordered_map<std::string, const Target*> flat;         // null: two layers flatten to it
    std::map<std::string, const Target*> shapes;                 // block numbers replaced by #
    size_t longest = 0;                                          // bytes of a name
  };

  Place resolve_as_is(std::string_view module) const;
  const Target* find(std::string_view component, std::string_view name) const;
  const Target* find_flat(std::string_view component, std::string_view name) const;
  bool resolve_text_encoder(std::string_view module, Place& place) const;
  bool resolve_dotted(std::string_view module, Place& place) const;
  bool resolve_flat(std::string_view module, Place& place) const;

  std::vector<Target> targets_;
  std::vector<ComponentPrefix> prefixes_;  // of text encoders, longest first
  std::map<std::string, Component, std::less<>> components_;
  std::map<std::string, std::string> nearest_;  // found so far, by shape
};

// "transformer_blocks.0.attn.to_q" -> "transformer_blocks_0_attn_to_q"
std::string flatten(std::string_view name);

}  // namespace mflux::lora
