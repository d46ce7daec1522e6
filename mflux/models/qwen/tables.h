// SPDX-License-Identifier: MIT
// Qwen-Image and Qwen-Image-Edit. They differ in the text encoder's vision tower, which only the
// edit models use.
#pragma once

#include "mflux/lora/family.h"
#include "mflux/models/tables.h"

namespace mflux::models::qwen {

extern const Component kTransformer;
extern const Component kTextEncoder;      // the vision tower is left out of mflux's naming
extern const Component kEditTextEncoder;  // the vision tower is kept
extern const Component kVae;
extern const Family kFamily;
extern const lora::Family kLora;
extern const Family kEditFamily;

}  // namespace mflux::models::qwen
