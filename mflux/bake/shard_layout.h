// SPDX-License-Identifier: MIT
// Which tensor goes into which file of the output, and where in it.
#pragma once

#include "mflux/bake/planned.h"

namespace mflux {

// Fills in the parts of every tensor, the shards with their headers, and what components say of
// them, from the tensors' formats and the options. May be called again after a change of options.
void lay_out_shards(Plan& plan);

}  // namespace mflux
