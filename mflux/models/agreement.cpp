// SPDX-License-Identifier: MIT
// Whether the components of a model go together.
#include <algorithm>
#include <optional>

#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/models/canonical.h"
#include "mflux/models/family.h"

namespace mflux::models {
namespace {

using Components = std::map<std::string_view, CanonicalComponent>;

std::optional<uint64_t> width_of(const Components& components, const WidthOf& width) {
  const auto component = components.find(width.component);
  if (component == components.end()) return std::nullopt;
  for (const auto& [name, tensor] : component->second.tensors) {
    if (tensor.bias || component->second.layers[tensor.layer].name != width.layer) continue;
    if (width.dimension < tensor.spec.shape.size()) return tensor.spec.shape[width.dimension];
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> disagreements(
    const Family& family, const std::vector<SourceComponent>& components, Naming naming) {
  Components read;
  for (const SourceComponent& component : components) {
    read.emplace(component.name, read_component(family, component, naming));
  }
  std::vector<std::string> lines;
  for (const auto& [one, other] : family.agreements) {
    const auto a = width_of(read, one);
    const auto b = width_of(read, other);
    if (!a || !b || *a == *b) continue;
    lines.push_back(fmt::format(
        "{} gives {} channels, but the {}'s '{}' takes {}: they belong to different models",
        one.component,
        *a,
        other.component,
        other.layer,
        *b));
  }
  for (const auto& [width, values] : family.known_widths) {
    const auto found = width_of(read, width);
    if (!found || std::ranges::count(values, *found) != 0) continue;
    const auto used = std::ranges::count_if(values, [](uint64_t value) { return value != 0; });
    lines.push_back(fmt::format(
        "{}: '{}' has {} channels, expected {}",
        width.component,
        width.layer,
        *found,
        fmt::join(values.begin(), values.begin() + used, ", ")));
  }
  return lines;
}

}  // namespace mflux::models
