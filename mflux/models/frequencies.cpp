// SPDX-License-Identifier: MIT
#include "mflux/models/frequencies.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "mflux/models/config.h"
#include "mflux/models/names.h"
#include "mflux/models/tables.h"

namespace mflux::models {
namespace {

std::optional<uint64_t> width(const Frequencies& table, const SourceComponent& source) {
  const std::string file = source.name + "/config.json";
  if (const auto head = config_head_width(source.config, table.section, file))
    return *head / table.divisor;
  const auto stored = std::ranges::find_if(
      source.tensors, [&](const auto& tensor) { return matches(table.name, tensor.name); });
  if (stored == source.tensors.end() || stored->spec.shape.size() != 1) return std::nullopt;
  return 2 * stored->spec.shape.front();
}

std::vector<float> frequencies(uint64_t width, double base) {
  std::vector<float> values;
  for (uint64_t i = 0; i < width; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(width);
    values.push_back(1 / static_cast<float>(std::pow(base, static_cast<double>(exponent))));
  }
  return values;
}

}  // namespace

void add_frequencies(
    const CanonicalComponent& component, const SourceComponent& source, MappedComponent& mapped) {
  for (const Frequencies& table : component.table->frequencies) {
    const std::optional<uint64_t> wide = width(table, source);
    if (!wide || *wide == 0 || *wide > kMostHeadWidth) continue;
    const std::string file = source.name + "/config.json";
    const double base = config_rope_base(source.config, table.section, file).value_or(table.base);
    const std::vector<float> values = frequencies(*wide, base);
    for (const auto& [block, instances] : component.instances) {
      if (block->name != table.block) continue;
      for (const Indices& at : instances) {
        mapped.tensors.push_back(
            {.name = fill(table.name, at),
             .shape = {values.size()},
             .dtype = Dtype::f32,
             .values = values});
      }
    }
  }
}

}  // namespace mflux::models
