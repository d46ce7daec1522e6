// SPDX-License-Identifier: MIT
// What a generation will be, from options, headers and the model's defaults.
#pragma once

#include <optional>
#include <vector>

#include "mflux/base/quantization.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/generate/options.h"
#include "mflux/image/picture.h"
#include "mflux/nn/layers.h"
#include "mflux/nn/schedule.h"
#include "mflux/pipelines/pipeline.h"

namespace mflux {

// All pictures that are given, read before anything large is loaded.
struct InputPictures {
  std::optional<Picture> image = {};
  std::vector<Picture> references = {};
  std::optional<Picture> mask = {};
};
InputPictures read_pictures(const GenerateOptions& options);

// A model that edits looks at its picture instead of beginning with it.
GenerateOptions for_model(const GenerateOptions& options, const pipelines::PictureFacts& facts);

// How many tokens a picture of the plan's size is.
int picture_tokens(const GeneratePlan& plan, const pipelines::PictureFacts& facts);

// Throws a usage Error for what is beyond the limits of options.h; they need no model.
void check_limits(const GenerateOptions& options);

// Throws a usage Error for sizes, steps, strengths and schedulers that make no sense.
GeneratePlan settle(
    const GenerateOptions& options,
    const InputPictures& pictures,
    const Checkpoint& model,
    const pipelines::PictureFacts& facts,
    const pipelines::Defaults& defaults);

// The format to pack in while loading: what was asked for, or what an at-load folder says.
std::optional<QuantFormat> load_format(const GenerateOptions& options, const Checkpoint& model);

nn::SolverKind solver_kind(const GenerateOptions& options);

// Throws a usage Error if the CPU cannot do what is asked for.
nn::Products products(const GenerateOptions& options);

// The step to begin at with an init image, as in Python's mflux: at least 1.
int first_step(int steps, float image_strength);

}  // namespace mflux
