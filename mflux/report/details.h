// SPDX-License-Identifier: MIT
// What a receipt says beyond parse_receipt(): about every LoRA key and every baked tensor.
#pragma once

#include <string>
#include <string_view>

#include "mflux/report/facts.h"

namespace mflux::report {

// "transformer", "transformer_blocks.3.attn.to_q.weight" -> its place.
TensorPlace place_of(std::string component, std::string_view name);

// Parses `text` into receipt, loras and baked. `file` is for messages; throws Error.
void read_receipt(std::string_view text, const std::string& file, ReportFacts& facts);

}  // namespace mflux::report
