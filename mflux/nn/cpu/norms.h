// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include "mflux/nn/layers.h"

namespace mflux::nn::cpu {

// As in nn/ops.h.
mx::array modulated_layer_norm(
    const mx::array& x, const mx::array& scale, const mx::array& shift, float eps);
mx::array layer_norm(const mx::array& x, const Norm& norm, float eps);
mx::array rms_norm(const mx::array& x, const mx::array& weight, float eps);
mx::array group_norm(const mx::array& x, const Norm& norm, int groups, float eps);

}  // namespace mflux::nn::cpu
