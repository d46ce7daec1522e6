// SPDX-License-Identifier: MIT
// From a module's tensors to updates of its target, with everything about them checked.
#pragma once

#include <optional>
#include <vector>

#include "mflux/lora/adapter.h"
#include "mflux/lora/adapter_config.h"
#include "mflux/lora/base_model.h"
#include "mflux/lora/module.h"
#include "mflux/lora/notes.h"

namespace mflux::lora {

// What is the same for all modules of a file.
struct FileContext {
  const BaseModel& model;
  const JoinedFiles& bytes;  // of the whole file
  double scale = 1;          // the user's
  AdapterConfig metadata = {};
  AdapterConfig sidecar = {};
  bool transposed = false;  // the file's matrices are in the other order
  bool mixed = false;       // some fit only as stored, some only in the other order
};

// In which orders a pair's shapes fit its target.
struct Fit {
  bool as_stored = false;
  bool transposed = false;
};
Fit fit_of(const Module& module, const BaseModel& model);

// The rank of a pair if both matrices agree on one in this order; none too if they are no matrices.
std::optional<uint64_t> rank_of(const Module& module, bool transposed);

// What keeps the numbers of a tensor from being used: none there, no floats, not finite.
std::optional<Refusal> check_values(const safetensors::TensorInfo& info, const JoinedFiles& file);

// The alpha that counts for a pair, and where it is from.
struct Alpha {
  double value = 0;
  AlphaSource source = AlphaSource::none;
  bool rank_stabilized = false;
  std::optional<Refusal> refusal = {};
};
Alpha find_alpha(const Module& module, uint64_t rank, const FileContext& file, Notes& notes);

// The scale of a LoKr of two whole factors, for which alpha means nothing, unless PEFT made it.
double whole_lokr_scale(const Module& module, const FileContext& file);

// What the configuration of the file says about OFT; null: nothing.
const OftConfig* find_oft_config(const Module& module, const FileContext& file);

struct BuiltUpdate {
  Update update;
  std::vector<const safetensors::TensorInfo*> keys;  // that it uses
};

struct Built {
  std::vector<BuiltUpdate> updates = {};
  std::optional<Refusal> refusal = {};  // then there are no updates
};

// The module's target is known, and so is its algorithm.
Built build(const Module& module, Algorithm algorithm, const FileContext& file, Notes& notes);

}  // namespace mflux::lora
