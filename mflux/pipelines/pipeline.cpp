// SPDX-License-Identifier: MIT
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines {

nn::LoadOptions load_options(const PipelineOptions& options, std::string_view component) {
  nn::LoadOptions result = options.load;
  if (component == "vae") result.products = nn::Products::float32;
  return result;
}

}  // namespace mflux::pipelines
