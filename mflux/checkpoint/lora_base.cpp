// SPDX-License-Identifier: MIT
// The tables make targets and canonical shapes of every component that is there; where there is no
// model, of the published one, in the widths that the file's matrices show.
#include "mflux/checkpoint/lora_base.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mflux/lora/names.h"
#include "mflux/models/published.h"

namespace mflux {
namespace {

using SizesOf = std::map<std::string, models::Sizes>;  // by component

lora::BaseModel base_of(const models::Family& family) {
  return {
      .family = &models::lora_family(family),
      .families = models::lora_families(),
      .title = std::string(models::family_title(family))};
}

lora::BaseModel sized_base(const models::Family& family, const SizesOf& sizes) {
  constexpr auto kNaming = models::Naming::diffusers;
  lora::BaseModel base = base_of(family);
  base.title = base.family->title;  // the layers are those of any variant
  for (const std::string& name : models::weight_components(family)) base.components[name];
  for (const auto& [component, of_component] : sizes) {
    const auto source = models::sized_component(family, component, of_component);
    base.components[component] = models::canonical_shapes(family, source, kNaming);
    for (lora::Target& target : models::lora_targets(family, source, kNaming)) {
      base.targets.push_back(std::move(target));
    }
  }
  return base;
}

std::string_view module_of(std::string_view tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

// What the file's modules show of the model's widths, by component.
std::map<std::string, std::vector<models::SeenMatrix>> seen_matrices(
    const lora::Survey& survey, const lora::Names& names) {
  std::map<std::string, std::vector<models::SeenMatrix>> seen;
  for (const lora::SurveyedModule& module : survey.modules) {
    const lora::Target* target = names.resolve(module.name).target;
    if (target == nullptr || module.outputs == 0) continue;
    models::SeenMatrix matrix{.outputs = module.outputs, .inputs = module.inputs};
    for (const lora::TargetRows& rows : target->rows) {
      std::string layer(module_of(rows.tensor));
      const bool is_half = !matrix.layers.empty() && matrix.layers.back() == layer;
      if (!is_half) matrix.layers.push_back(std::move(layer));
    }
    seen[target->component].push_back(std::move(matrix));
  }
  return seen;
}

SizesOf published_sizes(const models::Family& family) {
  SizesOf sizes;
  for (const std::string& component : models::published_components(family)) {
    sizes[component] = models::published_sizes(family, component);
  }
  return sizes;
}

// The one family that knows most of the names; null if two know equally many.
const models::Family* family_by_names(const lora::Survey& survey) {
  const models::Family* best = nullptr;
  size_t most = 0;
  for (const models::Family* family : models::families()) {
    const models::Family& widest = models::widest_variant(*family);
    const size_t known = count_known(survey, sized_base(widest, published_sizes(widest)));
    if (known == most) best = nullptr;
    if (known > most) best = family;
    most = std::max(most, known);
  }
  return best;
}

}  // namespace

lora::BaseModel lora_base(const Checkpoint& model, bool transformer_only) {
  lora::BaseModel base = base_of(*model.family);
  for (const std::string& name : models::weight_components(*model.family)) base.components[name];
  for (const Component& component : model.components) {
    if (transformer_only && component.name != "transformer") continue;
    base.components[component.name] =
        models::canonical_shapes(*model.family, component.source, model.naming);
    std::vector<lora::Target> more =
        models::lora_targets(*model.family, component.source, model.naming);
    base.targets.insert(
        base.targets.end(),
        std::make_move_iterator(more.begin()),
        std::make_move_iterator(more.end()));
  }
  return base;
}

size_t count_known(const lora::Survey& survey, const lora::BaseModel& base) {
  const lora::Names names(base);
  return static_cast<size_t>(
      std::ranges::count_if(survey.modules, [&](const lora::SurveyedModule& module) {
        return names.resolve(module.name).target != nullptr;
      }));
}

std::optional<lora::BaseModel> published_base(const lora::Survey& survey, std::string_view family) {
  const models::Family* known =
      family.empty() ? family_by_names(survey) : models::find_family(family);
  if (known == nullptr) return std::nullopt;
  const models::Family& tables = models::widest_variant(*known);
  SizesOf sizes = published_sizes(tables);
  const lora::Names names(sized_base(tables, sizes));
  for (const auto& [component, matrices] : seen_matrices(survey, names)) {
    sizes[component] = models::fit_sizes(tables, component, matrices, sizes[component]);
  }
  return sized_base(tables, sizes);
}

}  // namespace mflux
