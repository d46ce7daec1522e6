// SPDX-License-Identifier: MIT
// The group size of packed matrices whose files do not tell it. Codes and scales alone leave a
// choice: 4 bits in groups of 64 look like 8 bits in groups of 32 and twice the columns.
#pragma once

#include "mflux/checkpoint/checkpoint.h"

namespace mflux {

// The packed format of a matrix with `packed_columns` codes words and `groups` scales a row, of the
// group sizes that MLX has: 64 if it can be, none if nothing fits.
std::optional<QuantFormat> likely_format(uint64_t packed_columns, uint64_t groups);

// Corrects the formats, and with them the shapes, by the widths that the other tensors of the
// component show. A matrix whose width nothing shows has the group size of those around it.
void settle_group_sizes(Checkpoint& model);

}  // namespace mflux
