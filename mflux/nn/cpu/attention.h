// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include "mflux/nn/layers.h"

namespace mflux::nn::cpu {

// As nn::attention, in tiles: the scores of all queries and keys are never there at once.
mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask,
    Products products);

}  // namespace mflux::nn::cpu
