// SPDX-License-Identifier: MIT
// The group size of packed matrices whose files do not state it. Codes and scales alone leave a
// choice: 4 bits in groups of 64 look like 8 bits in groups of 32 and twice the columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "mflux/checkpoint/component.h"

namespace mflux {

// Corrects the formats of a component's tensors, and with them the shapes, by the widths that its
// other tensors show: `columns`, by index. A matrix whose width nothing shows has the group size of
// those around it.
void settle_group_sizes(Component& component, const std::map<size_t, uint64_t>& columns);

}  // namespace mflux
