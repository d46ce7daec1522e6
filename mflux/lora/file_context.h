// SPDX-License-Identifier: MIT
// What is the same for all modules of a LoRA file.
#pragma once

#include "mflux/base/joined_files.h"
#include "mflux/lora/adapter_config.h"
#include "mflux/lora/base_model.h"

namespace mflux::lora {

struct FileContext {
  const BaseModel& model;
  // Of the whole file.
  const JoinedFiles& bytes;
  // The user's, with that of the block.
  double scale = 1;
  AdapterConfig metadata = {};
  AdapterConfig sidecar = {};
  // The file's matrices are in the other order.
  bool transposed = false;
  // Some fit only as stored, some only in the other order.
  bool mixed = false;
};

}  // namespace mflux::lora
