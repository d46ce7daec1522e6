// SPDX-License-Identifier: MIT
// Files of a model, over those of a whole one: opened, checked, and planned for a save.
#include <algorithm>

#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/completeness.h"
#include "mflux/inspect.h"
#include "mflux/plan.h"

using namespace mflux;

namespace {

void plan(const std::filesystem::path& path, const SaveOptions& options) {
  const Checkpoint model = open_checkpoint(path);
  lora::Loaded none;
  make_plan(model, none, options);
  check_usable(model, check_complete(model));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::Folder& folder = fuzz::with_models();
  const auto entries = fuzz::split(fuzz::text_of(data, size), "flux/transformer/config.json");
  const fuzz::Laid laid(folder, entries);
  for (const char* family : {"flux", "qwen"}) {
    const auto in_it = [&](const fuzz::Entry& e) { return e.name.starts_with(family); };
    if (std::ranges::none_of(entries, in_it)) continue;
    const auto path = folder.path() / family;
    fuzz::refusable([&] { plan(path, {.bits = 4}); });
    fuzz::refusable([&] { plan(path, {.layout = Layout::diffusers}); });
    fuzz::refusable([&] { plan(path / "transformer", {.layout = Layout::comfyui}); });
    fuzz::refusable([&] { inspect({.path = path.string()}); });
  }
  return 0;
}
