// SPDX-License-Identifier: MIT
#include "mflux/pipelines/convolve.h"

#include "mflux/nn/ops.h"

namespace mflux::pipelines {

mx::array convolve(const mx::array& x, const nn::Conv& conv) {
  const int rows = conv.weight.shape(1) / 2;
  const int columns = conv.weight.shape(2) / 2;
  return nn::conv2d(x, conv, {.height_padding = {rows, rows}, .width_padding = {columns, columns}});
}

mx::array convolve_to_half(const mx::array& x, const nn::Conv& conv) {
  return nn::conv2d(x, conv, {.stride = 2, .height_padding = {0, 1}, .width_padding = {0, 1}});
}

}  // namespace mflux::pipelines
