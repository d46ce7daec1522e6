// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "mflux/pipelines/pipeline.h"
#include "mflux/pipelines/qwen/facts.h"

namespace mflux::pipelines::qwen {

// Of both variants.
std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options);

inline constexpr PictureFamily kFamily = {"qwen", kFacts, make_pipeline};
inline constexpr PictureFamily kEditFamily = {"qwen-edit", kEditFacts, make_pipeline};

}  // namespace mflux::pipelines::qwen
