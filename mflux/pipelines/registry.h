// SPDX-License-Identifier: MIT
// The families that make pictures.
#pragma once

#include <memory>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux::pipelines {

// Throws Error if no pipeline is there for the family.
const PictureFacts& picture_facts(const models::Family& family);

// As PictureFamily::make. Throws Error for a single file too, which holds a transformer alone.
std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options);

}  // namespace mflux::pipelines
