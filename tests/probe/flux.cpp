// SPDX-License-Identifier: MIT
#include <mlx/mlx.h>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/flux/clip.h"
#include "mflux/pipelines/flux/pipeline.h"
#include "mflux/pipelines/flux/t5.h"
#include "mflux/pipelines/flux/transformer.h"
#include "mflux/pipelines/flux/vae.h"
#include "tests/probe/probe.h"

namespace mflux::probe {
namespace {

namespace flux = pipelines::flux;

std::vector<int32_t> ids_of(const Tensors& input) {
  mx::array ids = mx::contiguous(mx::astype(input_of(input, "ids"), mx::int32));
  ids.eval();
  return {ids.data<int32_t>(), ids.data<int32_t>() + ids.size()};
}

std::vector<int> integers(const Tensors& input, const std::string& name) {
  mx::array values = mx::contiguous(mx::astype(input_of(input, name), mx::int32));
  values.eval();
  return {values.data<int32_t>(), values.data<int32_t>() + values.size()};
}

float number(const Tensors& input, const std::string& name) {
  return mx::astype(input_of(input, name), mx::float32).item<float>();
}

Tensors run_clip(const Checkpoint& model, const Tensors& input) {
  const flux::Clip clip = flux::load_clip(nn::load_weights(model, "text_encoder", {}));
  const flux::ClipOutput output = flux::encode(clip, ids_of(input));
  return {{"states", output.states}, {"pooled", output.pooled}};
}

Tensors run_t5(const Checkpoint& model, const Tensors& input) {
  const flux::T5 t5 = flux::load_t5(nn::load_weights(model, "text_encoder_2", {}));
  return {{"states", flux::encode(t5, ids_of(input))}};
}

// tokens, text, pooled, timestep, guidance (both times 1000), image: rows and columns; reference:
// the same, if there is one.
Tensors run_transformer(const Checkpoint& model, const Tensors& input) {
  const flux::Transformer transformer =
      flux::load_transformer(nn::load_weights(model, "transformer", load_options(input)));
  const mx::array& text = input_of(input, "text");
  const std::vector<int> image = integers(input, "image");
  flux::Layout layout{.text_tokens = text.shape(1), .image = {image.at(0), image.at(1)}};
  if (input.contains("reference")) {
    const std::vector<int> size = integers(input, "reference");
    layout.reference = {size.at(0), size.at(1)};
  }
  const flux::TransformerInput inputs{
      .tokens = input_of(input, "tokens"),
      .text = text,
      .pooled = input_of(input, "pooled"),
      .timestep = number(input, "timestep"),
      .guidance = number(input, "guidance"),
      .rotation = flux::rotation(layout, transformer.config),
  };
  return {
      {"velocity", flux::velocity(transformer, inputs)},
      {"block_by_block", flux::velocity(transformer, inputs, true)}};
}

std::optional<int> tile_of(const Tensors& input) {
  if (!input.contains("tile")) return std::nullopt;
  return integers(input, "tile").at(0);
}

Tensors run_vae_encode(const Checkpoint& model, const Tensors& input) {
  const flux::Vae vae = flux::load_vae(nn::load_weights(model, "vae", {}));
  return {{"latents", flux::encode(vae, input_of(input, "image"), tile_of(input))}};
}

Tensors run_vae_decode(const Checkpoint& model, const Tensors& input) {
  const flux::Vae vae = flux::load_vae(nn::load_weights(model, "vae", {}));
  return {{"image", flux::decode(vae, input_of(input, "latents"), tile_of(input))}};
}

// prompt: its bytes; size: height and width; guidance, sigma, latents; reference and mask, if there
// are.
Tensors run_pipeline(const Checkpoint& model, const Tensors& input) {
  pipelines::Request request;
  for (const int byte : integers(input, "prompt")) request.prompt += static_cast<char>(byte);
  const std::vector<int> size = integers(input, "size");
  request.height = size.at(0);
  request.width = size.at(1);
  request.guidance = number(input, "guidance");
  if (input.contains("reference")) request.references = {input_of(input, "reference")};
  if (input.contains("mask")) request.mask = input_of(input, "mask");
  const auto pipeline = flux::make_pipeline(model, {});
  const pipelines::Condition condition = pipeline->condition(request);
  const mx::array& latents = input_of(input, "latents");
  const mx::array image = pipeline->decode(latents, request.height, request.width);
  Tensors output = {
      {"text", *condition.text},
      {"pooled", *condition.pooled},
      {"velocity", pipeline->predict(latents, number(input, "sigma"), condition)},
      {"image", image},
      {"encoded", pipeline->encode(image)},
      {"notes", mx::array(static_cast<int>(condition.notes.size()))},
  };
  if (condition.references) output.emplace("references", *condition.references);
  return output;
}

}  // namespace

const std::map<std::string, Part>& flux_parts() {
  static const std::map<std::string, Part> parts = {
      {"clip", run_clip},
      {"t5", run_t5},
      {"transformer", run_transformer},
      {"vae_encode", run_vae_encode},
      {"vae_decode", run_vae_decode},
      {"pipeline", run_pipeline},
  };
  return parts;
}

}  // namespace mflux::probe
