// SPDX-License-Identifier: MIT
// What to say of keys and modules that mean no layer of the model.
#pragma once

#include <string>
#include <string_view>

#include "mflux/lora/base_model.h"
#include "mflux/lora/module.h"
#include "mflux/lora/names.h"
#include "mflux/lora/refusal.h"

namespace mflux::lora {

// Of a key whose end says nothing that is known; begins with a separator, or is "".
std::string explain_key(std::string_view key, Names& names);

// Of a module whose place has no target.
Refusal explain_unknown(const Module& module, const BaseModel& model, Names& names);

}  // namespace mflux::lora
