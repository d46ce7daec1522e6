// SPDX-License-Identifier: MIT
// For the test that the layering test sees a violation: base must not know LoRAs.
#pragma once

#include "mflux/lora/load.h"
