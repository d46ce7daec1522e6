// SPDX-License-Identifier: MIT
#include "mflux/lora/alpha.h"

#include <cmath>

#include <fmt/format.h>

#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

Alpha alpha_from_tensor(const TensorInfo& info, const FileContext& file) {
  const std::optional<double> value = read_scalar(info, file.bytes);
  if (!value) {
    return {
        .refusal = Refusal{
            ProblemKind::bad_dtype,
            fmt::format(
                "'{}' is {} {}, expected one number",
                info.name,
                dtype_name(info.spec.dtype),
                to_string(info.spec.shape))}};
  }
  if (!std::isfinite(*value)) {
    return {
        .refusal = Refusal{
            ProblemKind::non_finite,
            fmt::format("'{}' is {}, expected a finite number", info.name, *value)}};
  }
  return {.value = *value, .source = AlphaSource::tensor};
}

}  // namespace

Alpha find_alpha(const Module& module, uint64_t rank, const FileContext& file, Notes& notes) {
  if (const TensorInfo* info = module.find(Parameter::alpha)) return alpha_from_tensor(*info, file);
  const auto first = file.metadata.find(module.place.component, module.place.name);
  const auto second = file.sidecar.find(module.place.component, module.place.name);
  if (!first && !second) return {.value = static_cast<double>(rank)};
  const ModuleConfig& config = first ? *first : *second;
  if (first && second && first->alpha != second->alpha) {
    notes.add("adapter_config.json says another alpha than the metadata, which count", module.name);
  }
  if (config.rank && *config.rank != rank) {
    notes.add(
        fmt::format("the configuration says rank {}, the matrices have {}", *config.rank, rank),
        module.name);
  }
  return {
      .value = config.scale ? *config.scale * static_cast<double>(rank) : config.alpha,
      .source = first ? AlphaSource::metadata : AlphaSource::adapter_config,
      .rank_stabilized = config.rank_stabilized};
}

}  // namespace mflux::lora
