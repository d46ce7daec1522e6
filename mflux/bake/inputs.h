// SPDX-License-Identifier: MIT
// The files that a bake reads: what they are called, and that each is the same at the end as when
// the bake was planned.
#pragma once

#include <string>
#include <string_view>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/lora/adapter.h"

namespace mflux {

// Throws Error, naming the file, if bake.json could not hold a name because it is not UTF-8.
void check_input_names(const Checkpoint& model, const lora::Loaded& loras);

// Throws Error, naming the file, if a shard, a copied file or a LoRA was replaced or written to
// since it was opened.
void check_inputs_unchanged(const Checkpoint& model, const lora::Loaded& loras);

// One of a LoRA's files as it was merged, wherever its name leads by now.
const File& file_of_lora(const lora::Adapter& adapter, size_t file);

}  // namespace mflux
