// SPDX-License-Identifier: MIT
// DoRA, on top of a LoRA, a LoHa or a LoKr. V = W + its change; V' = V with every row (or column)
// made as long as its magnitude; W += s * (V' - W).
#pragma once

#include <initializer_list>

#include "mflux/lora/algorithms/algorithm.h"

namespace mflux::lora {

// Adds an update whose change is factored, or a DoRA of it if the module has a magnitude.
// `update.scale`: that of alpha and rank alone; the user's comes here.
void add_or_stretch(
    Builder& builder,
    const Algorithm& algorithm,
    Update update,
    std::initializer_list<Parameter> parameters);

}  // namespace mflux::lora
