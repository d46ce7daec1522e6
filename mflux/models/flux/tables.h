// SPDX-License-Identifier: MIT
// FLUX.1: dev, schnell, Krea, Kontext, Fill, Canny, Depth.
#pragma once

#include "mflux/lora/family.h"
#include "mflux/models/tables.h"

namespace mflux::models::flux {

extern const Component kTransformer;
extern const Component kClip;
extern const Component kT5;
extern const Component kVae;
extern const Family kFamily;
extern const lora::Family kLora;

}  // namespace mflux::models::flux
