// SPDX-License-Identifier: MIT
#include "mflux/bake/prepare.h"

#include <vector>

#include "mflux/bake/plan.h"
#include "mflux/bake/raise_bits.h"
#include "mflux/checkpoint/lora_base.h"
#include "mflux/hub/hub.h"
#include "mflux/lora/load.h"

namespace mflux {

lora::Loaded load_loras(const Checkpoint& model, const SaveOptions& options) {
  std::vector<lora::LoraSpec> specs;
  for (const LoraRequest& request : options.loras) {
    specs.push_back(
        {.file = hub::resolve_lora(request.name),
         .scale = request.scale,
         .block_scales = request.block_scales});
  }
  if (specs.empty()) return {};
  return lora::load(specs, lora_base(model, options.layout == Layout::comfyui));
}

Plan settle_plan(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const SaveEvents& events) {
  for (const lora::Problem& problem : loras.problems) {
    if (events.log && !problem.shapes.empty()) events.log(problem.shapes);
  }
  if (options.escalate) return raise_bits(model, loras, options, events);
  return make_plan(model, loras, options);
}

}  // namespace mflux
