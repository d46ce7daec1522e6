// SPDX-License-Identifier: MIT
#include "mflux/lora/refusal.h"

#include <fmt/format.h>

#include "mflux/lora/values.h"

namespace mflux::lora {

std::optional<Refusal> check_values(const safetensors::TensorInfo& info, const JoinedFiles& file) {
  if (info.bytes == 0) {
    return Refusal{
        ProblemKind::empty_tensor,
        fmt::format("'{}' has shape {}: it holds nothing", info.name, to_string(info.spec.shape))};
  }
  if (!is_float(info.spec.dtype)) {
    return Refusal{
        ProblemKind::bad_dtype,
        fmt::format("'{}' has dtype {}, expected floats", info.name, dtype_name(info.spec.dtype))};
  }
  if (all_finite(info, file)) return std::nullopt;
  return Refusal{
      ProblemKind::non_finite, fmt::format("'{}' holds values that are not finite", info.name)};
}

}  // namespace mflux::lora
