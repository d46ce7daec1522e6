// SPDX-License-Identifier: MIT
// Files of a model, over those of a whole one, as the networks that make pictures read them.

#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/generate.h"
#include "mflux/pipelines/flux/config.h"
#include "mflux/pipelines/qwen/config.h"

namespace mflux::fuzz {
namespace flux = pipelines::flux;
namespace qwen = pipelines::qwen;

namespace {

template <typename Read>
void read(const Checkpoint& model, const char* component, const Read& settings) {
  refusable([&] { settings(nn::load_weights(model, component, {})); });
}

void read_settings(const std::filesystem::path& path) {
  const Checkpoint model = open_checkpoint(path);
  if (models::family_name(*model.family) == "flux") {
    read(model, "text_encoder", flux::clip_config);
    read(model, "text_encoder_2", flux::t5_config);
    read(model, "transformer", flux::transformer_config);
    read(model, "vae", flux::vae_config);
    return;
  }
  read(model, "text_encoder", [&](const auto& weights) { qwen::text_config(model, weights); });
  read(model, "text_encoder", [&](const auto& weights) { qwen::vision_config(model, weights); });
  read(model, "transformer", qwen::transformer_config);
  read(model, "vae", qwen::vae_config);
  refusable([&] { qwen::pixel_limits(model); });
  refusable([&] { qwen::schedule_defaults(model); });
  refusable([&] { qwen::names_pictures(model); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  with_models_given(data, size, [](const std::filesystem::path& path) {
    refusable([&] { read_settings(path); });
    refusable([&] { plan_generate({.model = path.string(), .prompt = "a cat"}); });
  });
  return 0;
}

}  // namespace mflux::fuzz
