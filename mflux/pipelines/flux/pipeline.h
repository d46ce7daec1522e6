// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "mflux/pipelines/flux/facts.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines::flux {

std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options);

inline constexpr PictureFamily kFamily = {"flux", kFacts, make_pipeline};

}  // namespace mflux::pipelines::flux
