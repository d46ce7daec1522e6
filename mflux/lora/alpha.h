// SPDX-License-Identifier: MIT
// The alpha that counts for a module, and where it is from.
#pragma once

#include <cstdint>
#include <optional>

#include "mflux/lora/file_context.h"
#include "mflux/lora/module.h"
#include "mflux/lora/notes.h"
#include "mflux/lora/refusal.h"

namespace mflux::lora {

struct Alpha {
  double value = 0;
  AlphaSource source = AlphaSource::none;
  bool rank_stabilized = false;
  std::optional<Refusal> refusal = {};
};

// A tensor's counts before the metadata's, which count before adapter_config.json's; where none
// says anything it is the rank. Where two disagree a note says so.
Alpha find_alpha(const Module& module, uint64_t rank, const FileContext& file, Notes& notes);

}  // namespace mflux::lora
