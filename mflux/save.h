// SPDX-License-Identifier: MIT
// Bakes LoRAs into a model, quantizes it and writes a folder that Python's mflux loads.
//
//   mflux::SaveReport report = mflux::save({.model = "Qwen-Image", .output = "out", .bits = 8});
#pragma once

#include "mflux/bake/receipt.h"
#include "mflux/events.h"
#include "mflux/options.h"

namespace mflux {

// Throws Error before the first byte is written if the plan cannot be met; leaves the output as it
// was if it fails later.
SaveReport save(const SaveOptions& options, const SaveEvents& events = {});

}  // namespace mflux
