// SPDX-License-Identifier: MIT
#include "mflux/save.h"

#include <filesystem>
#include <memory>

#include "mflux/bake/output.h"
#include "mflux/bake/prepare.h"
#include "mflux/base/error.h"
#include "mflux/hub/hub.h"

namespace mflux {

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
