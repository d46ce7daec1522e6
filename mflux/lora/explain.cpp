// SPDX-License-Identifier: MIT
// The nearest guess comes first: a component that is not there, a block with too high a number, a
// layer that other models of the family have, another family. The nearest known name is added, as
// long as Names still compares.
#include "mflux/lora/explain.h"

#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/made_for.h"

namespace mflux::lora {
namespace {

std::string reason(const Place& place, const BaseModel& model, const Names& names) {
  if (std::string block = names.missing_block(place); !block.empty()) return block;
  if (place.component != "transformer") return "";
  for (const MissingLayer& layer : model.family->missing_layers) {
    if (place.name.starts_with(layer.beginning)) return std::string(layer.why);
  }
  const std::string_view other = lookalike(place.name, model.families, model.family);
  return other.empty() ? "" : fmt::format("this looks like a LoRA for {}", other);
}

}  // namespace

std::string explain_key(std::string_view key, Names& names) {
  constexpr size_t kMostParts = 8;  // of an ending
  size_t parts = 0;
  for (size_t dot = key.rfind('.'); dot != key.npos && dot > 0; dot = key.rfind('.', dot - 1)) {
    if (++parts > kMostParts) break;
    const Place place = names.resolve(key.substr(0, dot));
    if (place.target == nullptr) continue;
    return fmt::format(
        ": the layer {} is known, the ending '{}' is not", place.name, key.substr(dot));
  }
  const std::string nearest = names.nearest(names.resolve(key));
  return nearest.empty() ? "" : fmt::format("; nearest known name: {}", nearest);
}

Refusal explain_unknown(const Module& module, const BaseModel& model, Names& names) {
  const Place& place = module.place;
  const auto component = model.components.find(place.component);
  if (component == model.components.end()) {
    return {
        ProblemKind::unknown_module,
        fmt::format(
            "'{}' ({}): {} has no component {}",
            module.name,
            module.keys(),
            model.title,
            place.component)};
  }
  if (component->second.empty()) {
    return {
        ProblemKind::component_absent,
        fmt::format(
            "'{}' ({}) is for {}, which is not being written",
            module.name,
            module.keys(),
            place.component)};
  }
  std::string message =
      fmt::format("'{}' ({}): the model has no such layer", module.name, module.keys());
  if (const std::string why = reason(place, model, names); !why.empty()) message += "; " + why;
  if (const std::string nearest = names.nearest(place); !nearest.empty()) {
    message += fmt::format("; nearest known name: {}", nearest);
  }
  return {ProblemKind::unknown_module, std::move(message)};
}

}  // namespace mflux::lora
