// SPDX-License-Identifier: MIT
#include "mflux/pipelines/pipeline.h"

#include <utility>

#include "mflux/base/error.h"

namespace mflux::pipelines {

nn::LoadOptions load_options(const PipelineOptions& options, std::string_view component) {
  nn::LoadOptions result = options.load;
  if (component == "vae") result.products = nn::Products::float32;
  return result;
}

std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options) {
  if (model.single_file) {
    fail(
        "{}: one file holds the transformer alone; a picture also needs text encoders, tokenizers "
        "and a VAE, so give the model's folder",
        model.path.string());
  }
  const std::string_view family = models::family_name(*model.family);
  if (family == "flux") return make_flux_pipeline(model, std::move(options));
  return make_qwen_pipeline(model, std::move(options));
}

}  // namespace mflux::pipelines
