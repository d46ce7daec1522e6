// SPDX-License-Identifier: MIT
// What PyTorch's wrappers leave in the names of a module's tensors.
#pragma once

#include <string>
#include <string_view>

namespace mflux::safetensors {

// Without the words that compiling ("_orig_mod"), data parallel training ("module") and the like
// put anywhere into a name, dotted or with underscores for dots:
// "module.blocks.0._orig_mod.to_q.weight" -> "blocks.0.to_q.weight".
std::string without_wrappers(std::string_view name);

}  // namespace mflux::safetensors
