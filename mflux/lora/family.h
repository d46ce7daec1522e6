// SPDX-License-Identifier: MIT
// What is particular about the LoRAs of one family of models. A family's tables fill it in
// (mflux/models/<family>/lora.cpp); nothing in this folder knows a family by name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace mflux::lora {

// What stands before the layers of a component in some dialect.
struct ComponentPrefix {
  // Of dotted names, or of flat ones if it ends with an underscore.
  std::string_view text;
  std::string_view component;
};

// The same as it is written; "" if the dialect's own programs load no LoRA for the component.
struct WrittenPrefixes {
  std::string_view component;
  std::string_view diffusers;
  std::string_view kohya;
  std::string_view comfyui;
};

// An input layer that the family's models have in several widths. A LoRA for a narrower one changes
// the first columns; of wider ones two are known.
struct InputLayer {
  std::string_view component;
  std::string_view tensor;
  // So many times as wide in models that a control LoRA makes,
  uint64_t control_times = 0;
  // and some such LoRAs, for people.
  std::string_view control_loras = {};
  // So many times as wide in this model.
  uint64_t other_times = 0;
  std::string_view other_model = {};
};

// A layer that only some of the family's models have.
struct MissingLayer {
  // Of its name.
  std::string_view beginning;
  // "this model has no ..."
  std::string_view why;
};

struct Family {
  // "flux"
  std::string_view name;
  // For people: "FLUX.1".
  std::string_view title;
  // Parts of the model's name in a file's metadata, in lower case, letters and digits only.
  std::span<const std::string_view> metadata = {};
  // Parts of flat names of layers that no other family here has,
  std::span<const std::string_view> own_names = {};
  // and those that tell it only where no own name of another is found.
  std::span<const std::string_view> weak_names = {};
  // Besides those that mean the same component of every family.
  std::span<const ComponentPrefix> prefixes = {};
  std::span<const WrittenPrefixes> written = {};
  std::span<const InputLayer> input_layers = {};
  std::span<const MissingLayer> missing_layers = {};
};

using Families = std::span<const Family* const>;

}  // namespace mflux::lora
