// SPDX-License-Identifier: MIT
// A LoRA and what lies beside it: baked into small models, all but writing.
#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/bake/pass.h"
#include "mflux/bake/plan.h"
#include "mflux/checkpoint/lora_base.h"
#include "mflux/lora/load.h"
#include "mflux/lora/survey.h"

namespace mflux::fuzz {
namespace {

class Nowhere : public Sink {
  void write(const PlannedPart&, uint64_t, std::span<const std::byte>) override {}
};

struct Model {
  explicit Model(const char* family)
      : checkpoint(opened(family)), base(lora_base(checkpoint, false)) {}

  // Without the part that no LoRA changes and that has the most tensors.
  static Checkpoint opened(const char* family) {
    const auto path = with_models().path() / family;
    std::filesystem::remove_all(path / "vae");
    mflux::testing::write_file(path / "model_index.json", R"({"vae": [null, null]})");
    return open_checkpoint(path);
  }

  Checkpoint checkpoint;
  lora::BaseModel base;
};

// Returns whether all of it fits.
bool bake(const Model& model, const std::filesystem::path& file) {
  const lora::LoraSpec spec{.file = file, .scale = 0.5};
  lora::Loaded loras = lora::load({&spec, 1}, model.base);
  if (!loras.problems.empty()) lora::describe(loras.problems);
  const bool fits = loras.problems.empty();
  if (loras.adapters.front().updates.empty()) return fits;
  const SaveOptions options{.bits = 8, .on_lora_failure = OnLoraFailure::skip_layer};
  const Plan plan = make_plan(model.checkpoint, loras, options);
  const auto baked = [](const PlannedTensor& tensor) { return tensor.baked(); };
  Nowhere nowhere;
  run_pass(model.checkpoint, plan, {.only = baked, .hash_inputs = false}, nowhere);
  return fits;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Model flux("flux");
  static const Model qwen("qwen");
  static Folder folder;
  const Laid laid(folder, split(text_of(data, size), "x.safetensors"));
  const auto file = folder.path() / "x.safetensors";
  refusable([&] { lora::survey(file, models::lora_families()); });
  refusable([&] { bake(flux, file) || bake(qwen, file); });
  return 0;
}

}  // namespace mflux::fuzz
