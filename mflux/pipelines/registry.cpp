// SPDX-License-Identifier: MIT
#include "mflux/pipelines/registry.h"

#include <algorithm>
#include <array>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/pipelines/flux/pipeline.h"
#include "mflux/pipelines/qwen/pipeline.h"

namespace mflux::pipelines {
namespace {

constexpr std::array kFamilies = {flux::kFamily, qwen::kFamily, qwen::kEditFamily};

const PictureFamily& row_of(const models::Family& family) {
  const auto row =
      std::ranges::find(kFamilies, models::family_variant(family), &PictureFamily::variant);
  if (row == kFamilies.end()) fail("{}: no pictures are made", models::family_title(family));
  return *row;
}

}  // namespace

const PictureFacts& picture_facts(const models::Family& family) {
  return row_of(family).facts;
}

std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options) {
  if (model.single_file) {
    fail(
        "{}: one file holds the transformer alone; a picture also needs text encoders, tokenizers "
        "and a VAE, so give the model's folder",
        model.path.string());
  }
  return row_of(*model.family).make(model, std::move(options));
}

}  // namespace mflux::pipelines
