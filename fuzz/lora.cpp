// SPDX-License-Identifier: MIT
// A LoRA and what lies beside it: baked into small models, all but writing.
#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/lora/survey.h"
#include "mflux/stream.h"

using namespace mflux;

namespace {

class Nowhere : public Sink {
  void write(const PlannedPart&, uint64_t, std::span<const std::byte>) override {}
};

void bake(const Checkpoint& model, const std::filesystem::path& lora) {
  const SaveOptions options{
      .bits = 8,
      .loras = {{.name = lora.string(), .scale = 0.5}},
      .on_lora_failure = OnLoraFailure::skip_layer};
  lora::Loaded loras = load_loras(model, options);
  lora::describe(loras.problems);
  const Plan plan = make_plan(model, loras, options);
  const auto baked = [](const PlannedTensor& tensor) { return tensor.baked(); };
  Nowhere nowhere;
  stream(model, plan, {.only = baked, .hash_inputs = false}, nowhere);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& models = fuzz::with_models().path();
  static const Checkpoint flux = open_checkpoint(models / "flux");
  static const Checkpoint qwen = open_checkpoint(models / "qwen");
  static fuzz::Folder folder;
  const fuzz::Laid laid(folder, fuzz::split(fuzz::text_of(data, size), "x.safetensors"));
  const auto file = folder.path() / "x.safetensors";
  fuzz::refusable([&] { lora::survey(file); });
  fuzz::refusable([&] { bake(flux, file); });
  fuzz::refusable([&] { bake(qwen, file); });
  return 0;
}
