// SPDX-License-Identifier: MIT
#include "mflux/nn/layers.h"

namespace mflux::nn {

int Linear::inputs() const {
  return format ? weight.shape(1) * 32 / format->bits : weight.shape(1);
}

}  // namespace mflux::nn
