// SPDX-License-Identifier: MIT
// Files of a model, over those of a whole one: opened, checked, and planned for a save.

#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/bake/plan.h"
#include "mflux/checkpoint/completeness.h"
#include "mflux/inspect.h"

namespace mflux::fuzz {
namespace {

void plan(const std::filesystem::path& path, const SaveOptions& options) {
  const Checkpoint model = open_checkpoint(path);
  lora::Loaded none;
  make_plan(model, none, options);
  if (!model.bare) check_usable(model, check_complete(model));
}

// One of the ways to read a model, so that there are more inputs a second; `which` is any number.
void read(const std::filesystem::path& path, size_t which) {
  switch (which % 4) {
    case 0:
      return plan(path, {.bits = 4});
    case 1:
      return plan(path, {.layout = Layout::diffusers});
    case 2:
      return plan(path / "transformer", {.layout = Layout::comfyui});
    default:
      inspect({.path = path.string()});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  with_models_given(
      data, size, [&](const std::filesystem::path& path) { refusable([&] { read(path, size); }); });
  return 0;
}

}  // namespace mflux::fuzz
