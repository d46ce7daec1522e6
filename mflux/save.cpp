// SPDX-License-Identifier: MIT
#include "mflux/save.h"

#include <filesystem>
#include <memory>

#include "mflux/bake/output.h"
#include "mflux/base/error.h"
#include "mflux/bake/raise_bits.h"
#include "mflux/hub/hub.h"
#include "mflux/checkpoint/lora_base.h"

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

SaveReport save(const SaveOptions& options, const SaveEvents& events) {
  try {
    std::atomic<bool> never = false;
    SaveEvents with_stop = events;
    if (with_stop.stop == nullptr) with_stop.stop = &never;
    const Checkpoint model = open_checkpoint(hub::resolve_model(options.model), options.base_model);
    const auto loras = std::make_shared<lora::Loaded>(load_loras(model, options));
    Plan plan = settle_plan(model, *loras, options, with_stop);
    std::vector<std::unique_ptr<Bake>> bakes;
    bakes.push_back(std::make_unique<Bake>(model, loras, std::move(plan), options, with_stop));
    bakes.front()->folder().check_disk(bakes.front()->bytes_to_write());
    bake_all(model, bakes);
    return bakes.front()->finish();
  } catch (const std::filesystem::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux
