// SPDX-License-Identifier: MIT
// What belongs together in a LoRA file: the tensors of one module, under the name the file gives
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/lora/adapter.h"
#include "mflux/lora/grammar.h"
#include "mflux/lora/names.h"

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

// Why a module cannot be applied.
struct Refusal {
  ProblemKind kind = ProblemKind::unknown_key;
  std::string message;
  std::string shapes = {};  // of a shape that does not fit, for the log
};

enum class Algorithm : uint8_t {
  low_rank,  // A and B, perhaps with a core
  full,      // A alone, in the weight's own shape: ai-toolkit's full rank
  dense,     // differences and new values only
  loha,
  lokr,
  oft,        // LyCORIS's, BOFT too, and kohya's
  input_oft,  // PEFT's and OneTrainer's
  glora,
  ia3,
};

// Decides by the parameters that are there; any that are missing or too many are a refusal.
struct Classified {
  Algorithm algorithm = Algorithm::dense;
  std::optional<Refusal> refusal = {};
  std::string_view title = {};  // for people, of what is not supported too: "LoRA", "LoKr"
};
Classified classify(const Module& module);

}  // namespace mflux::lora
