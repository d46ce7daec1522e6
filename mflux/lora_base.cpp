// SPDX-License-Identifier: MIT
#include "mflux/lora_base.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace mflux {

lora::BaseModel lora_base(const Checkpoint& model, bool transformer_only) {
  lora::BaseModel base{
      .family = std::string(models::family_name(*model.family)),
      .title = std::string(models::family_title(*model.family))};
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

}  // namespace mflux
