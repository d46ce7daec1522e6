// SPDX-License-Identifier: MIT
// What a LoRA file says about itself, without a model to apply it to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "mflux/lora/adapter.h"
#include "mflux/lora/made_for.h"
#include "mflux/lora/trainer.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

struct SurveyedModule {
  std::string name;       // as the file spells it
  std::string component;  // that its prefix says
  std::string layer;      // the name without prefixes
  std::string algorithm;  // "LoRA", "LoKr", "difference", ..., "incomplete"
  uint64_t rank = 0;      // 0: not a pair of matrices that fit each other
  double alpha = 0;       // of a pair
  AlphaSource alpha_source = AlphaSource::none;
  uint64_t outputs = 0;  // rows and columns of the change; 0 where the tensors do not tell
  uint64_t inputs = 0;
  std::string dead = {};  // why it changes nothing whatever the strength: "B is all zero"
};

struct Survey {
  std::string dialect = {};
  Trainer trainer = {};
  MadeFor made_for = {};
  bool transposed = false;  // every pair that can tell is stored in the other order
  std::vector<SurveyedModule> modules = {};  // in file order
  std::map<std::string, size_t> keys = {};   // tensors by what they are: "A", "alpha", ...
  std::vector<std::string> ignored = {};     // keys that change no weight
  std::vector<safetensors::TensorInfo> tensors = {};
  safetensors::Metadata metadata = {};
  std::vector<Problem> problems = {};
};

// Throws Error for a file that cannot be read or is not a well-formed safetensors file.
Survey survey(const std::filesystem::path& file, Families families);

}  // namespace mflux::lora
