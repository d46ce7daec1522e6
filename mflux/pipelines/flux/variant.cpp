// SPDX-License-Identifier: MIT
// Widths of the headers tell the variants apart, since their files do not name them: the
// transformer of Canny, Depth and Fill takes wider tokens, schnell's has no guidance embedder. Only
// Kontext is told from dev by model_index.json.
#include "mflux/pipelines/flux/variant.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>

#include "mflux/base/error.h"
#include "mflux/models/config.h"
#include "mflux/pipelines/flux/facts.h"

namespace mflux::pipelines::flux {
namespace {

using Shapes = std::map<std::string, Shape>;  // by diffusers' names

Shapes shapes_of(const Checkpoint& model, std::string_view component) {
  const auto found = std::ranges::find(model.components, component, &Component::name);
  if (found == model.components.end()) {
    fail("{}: has no component '{}', which a picture needs", model.path.string(), component);
  }
  return models::canonical_shapes(*model.family, found->source, model.naming);
}

// Of a matrix [outputs, inputs].
uint64_t inputs(const Shapes& shapes, const std::string& tensor) {
  return shapes.at(tensor).at(1);
}

Pictures pictures_of(uint64_t channels) {
  struct Width {
    uint64_t channels;
    Pictures pictures;
  };
  constexpr uint64_t kValues = kFacts.token_values;
  constexpr uint64_t kMaskValues = uint64_t{kFacts.token_pixels} * kFacts.token_pixels;
  constexpr std::array kWidths = {
      Width{kValues, Pictures::optional},
      Width{2 * kValues, Pictures::control},
      Width{2 * kValues + kMaskValues, Pictures::fill},
  };
  for (const Width& width : kWidths) {
    if (width.channels == channels) return width.pictures;
  }
  fail(
      "transformer: 'x_embedder.weight' takes {} channels, expected 64 (dev, schnell, Kontext), "
      "128 "
      "(Canny, Depth) or 384 (Fill)",
      channels);
}

bool says_kontext(const Checkpoint& model) {
  const models::Config index = models::read_config(model.path / "model_index.json");
  return index.text("_class_name").value_or("").starts_with("FluxKontext");
}

void expect_width(
    std::string_view encoder, uint64_t given, std::string_view layer, uint64_t taken) {
  if (given == taken) return;
  fail(
      "{} gives {} channels, but the transformer's '{}' takes {}: they belong to different models",
      encoder,
      given,
      layer,
      taken);
}

}  // namespace

Variant variant_of(const Checkpoint& model) {
  const Shapes transformer = shapes_of(model, "transformer");
  const Shapes clip = shapes_of(model, "text_encoder");
  const Shapes t5 = shapes_of(model, "text_encoder_2");
  shapes_of(model, "vae");
  expect_width(
      "text_encoder_2",
      inputs(t5, "shared.weight"),
      "context_embedder",
      inputs(transformer, "context_embedder.weight"));
  expect_width(
      "text_encoder",
      inputs(clip, "text_model.embeddings.token_embedding.weight"),
      "time_text_embed.text_embedder.linear_1",
      inputs(transformer, "time_text_embed.text_embedder.linear_1.weight"));
  return {
      .pictures = pictures_of(inputs(transformer, "x_embedder.weight")),
      .guidance = transformer.contains("time_text_embed.guidance_embedder.linear_1.weight"),
      .kontext = says_kontext(model),
  };
}

Defaults defaults_of(const Variant& variant) {
  Defaults defaults{
      .steps = variant.guidance ? 25 : 4,
      .uses_guidance = variant.guidance,
  };
  if (!variant.guidance) defaults.shift.reset();
  if (variant.pictures == Pictures::fill) defaults.guidance = 30;
  if (variant.pictures == Pictures::control) defaults.guidance = 10;
  if (variant.kontext) defaults.guidance = 2.5F;
  return defaults;
}

void check(const Request& request, const Variant& variant) {
  if (request.height < 16 || request.width < 16 || request.height % 16 + request.width % 16 != 0) {
    fail(
        ErrorKind::usage,
        "a picture of {} x {} pixels: expected multiples of 16",
        request.width,
        request.height);
  }
  const size_t references = request.references.size();
  const bool fill = variant.pictures == Pictures::fill;
  if (fill && (references == 0 || !request.mask)) {
    fail(ErrorKind::usage, "this is FLUX.1 Fill: it needs a reference picture and a mask");
  }
  if (variant.pictures == Pictures::control && references == 0) {
    fail(
        ErrorKind::usage,
        "this is FLUX.1 Canny or Depth: it needs a reference picture, of edges or of depth");
  }
  if (references > 1) {
    fail(ErrorKind::usage, "{} reference pictures: FLUX.1 takes one", references);
  }
  if (request.mask && !fill) {
    fail(ErrorKind::usage, "a mask: only FLUX.1 Fill takes one, and this is another model");
  }
  if (request.mask && request.mask->shape() != mx::Shape{request.height, request.width}) {
    fail(
        ErrorKind::usage,
        "a mask of {} x {} pixels for a picture of {} x {}",
        request.mask->shape(1),
        request.mask->shape(0),
        request.width,
        request.height);
  }
}

}  // namespace mflux::pipelines::flux
