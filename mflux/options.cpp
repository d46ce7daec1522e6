// SPDX-License-Identifier: MIT
#include "mflux/options.h"

#include "mflux/base/error.h"

namespace mflux {

std::optional<QuantFormat> SaveOptions::quant_format() const {
  if (!bits && mode == QuantMode::affine) {
    if (group_size) {
      fail(
          ErrorKind::usage, "--q-group-size needs --quantize: how many bits should a weight have?");
    }
    return std::nullopt;
  }
  return make_quant_format(mode, bits, group_size);
}

}  // namespace mflux
