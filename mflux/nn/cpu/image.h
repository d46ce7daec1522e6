// SPDX-License-Identifier: MIT
#pragma once

#include "mflux/nn/ops.h"

namespace mflux::nn::cpu {

// As in nn/ops.h.
mx::array conv2d(const mx::array& x, const Conv& conv, const Conv2dOptions& options);
mx::array upsample_nearest(const mx::array& x);

}  // namespace mflux::nn::cpu
