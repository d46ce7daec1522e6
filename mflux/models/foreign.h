// SPDX-License-Identifier: MIT
// Weights that another program packed in a format of its own, known by tensors that no model of
// ours has.
#pragma once

#include <string>

#include "mflux/models/component.h"

namespace mflux::models {

// What messages call the component: "transformer", the name of a single file, or "the file".
std::string shown_name(const SourceComponent& component);

// Throws Error, naming the format and what to take instead, if there is such a tensor. A LoRA among
// the weights is one too.
void refuse_packed_format(const SourceComponent& component);

}  // namespace mflux::models
