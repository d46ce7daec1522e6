// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <mlx/mlx.h>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/conditioner.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/pipeline.h"
#include "mflux/pipelines/qwen/references.h"
#include "mflux/pipelines/qwen/text_encoder.h"
#include "mflux/pipelines/qwen/transformer.h"
#include "mflux/pipelines/qwen/vae.h"
#include "mflux/pipelines/qwen/vision.h"
#include "mflux/pipelines/resample.h"
#include "tests/probe/probe.h"

namespace mflux::probe {
namespace {

namespace qwen = pipelines::qwen;

std::vector<qwen::Grid> grids_of(const Tensors& input, const std::string& name) {
  const mx::array sizes = mx::contiguous(mx::astype(input_of(input, name), mx::int32));
  mx::array copy = sizes;
  copy.eval();
  std::vector<qwen::Grid> grids;
  for (int i = 0; i < copy.shape(0); ++i) {
    grids.emplace_back(copy.data<int32_t>()[2 * i], copy.data<int32_t>()[2 * i + 1]);
  }
  return grids;
}

int number_of(const Tensors& input, const std::string& name) {
  mx::array value = input_of(input, name);
  return value.item<int32_t>();
}

// ids [batch, tokens]; positions [3, tokens], or none -> hidden [batch, tokens, width]
Tensors text_encoder(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "text_encoder", {});
  const qwen::TextEncoder encoder =
      qwen::load_text_encoder(weights, qwen::text_config(model, weights));
  std::optional<mx::array> positions;
  if (input.contains("positions")) positions = input_of(input, "positions");
  return {{"hidden", encode(encoder, embed(encoder, input_of(input, "ids")), positions)}};
}

// patches of one picture, grid [1, 2] -> tokens
Tensors vision(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "text_encoder", {});
  const qwen::VisionTower tower =
      qwen::load_vision_tower(weights, qwen::vision_config(model, weights));
  return {{"tokens", encode(tower, input_of(input, "patches"), grids_of(input, "grid")[0])}};
}

// image [height, width, 3] -> what the vision tower and the VAE see of it. area [1]: of the former.
Tensors reference(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "text_encoder", {});
  const mx::array& image = input_of(input, "image");
  const qwen::PictureSize size =
      qwen::fit_area({.height = image.shape(0), .width = image.shape(1)}, number_of(input, "area"));
  const mx::array small =
      pipelines::resample(image, size.height, size.width, pipelines::Filter::lanczos);
  const qwen::VisionInput seen =
      qwen::vision_input(small, qwen::vision_config(model, weights), qwen::pixel_limits(model));
  return {
      {"patches", seen.patches},
      {"grid", mx::array({seen.grid.first, seen.grid.second})},
      {"image", qwen::reference_for_vae(image)}};
}

// latents [1, tokens, channels], sigma [1], text [1, tokens, width], pictures [n, 2] -> velocity
Tensors transformer(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "transformer", load_options(input));
  const qwen::Transformer network = qwen::load_transformer(weights);
  const std::vector<qwen::Grid> pictures = grids_of(input, "pictures");
  const mx::array& text = input_of(input, "text");
  mx::array sigma = input_of(input, "sigma");
  const qwen::TransformerInput all{
      .tokens = input_of(input, "latents"),
      .picture_tokens = pictures[0].first * pictures[0].second,
      .text = text,
      .sigma = sigma.item<float>(),
      .rotation = qwen::rotation(pictures, text.shape(1), network.config)};
  return {{"velocity", qwen::velocity(network, all, input.contains("low_memory"))}};
}

std::optional<int> tile_of(const Tensors& input) {
  if (!input.contains("tile")) return std::nullopt;
  return number_of(input, "tile");
}

// image [1, height, width, 3] -> latents [1, height / 8, width / 8, channels]
Tensors vae_encode(const Checkpoint& model, const Tensors& input) {
  const qwen::Vae vae = qwen::load_vae(nn::load_weights(model, "vae", {}));
  return {{"latents", encode(vae, input_of(input, "image"), tile_of(input))}};
}

Tensors vae_decode(const Checkpoint& model, const Tensors& input) {
  const qwen::Vae vae = qwen::load_vae(nn::load_weights(model, "vae", {}));
  return {{"image", decode(vae, input_of(input, "latents"), tile_of(input))}};
}

std::string text_of(const Tensors& input, const std::string& name) {
  mx::array bytes = mx::contiguous(input_of(input, name));
  bytes.eval();
  return {bytes.data<char>(), bytes.size()};
}

// prompt, negative (UTF-8), size [1, 2] in pixels, guidance [1], latents, sigma [1]; reference.0,
// ... -> what a step needs, and what it predicts
Tensors pipeline(const Checkpoint& model, const Tensors& input) {
  const auto run = qwen::make_pipeline(model, {.vae_tile = tile_of(input)});
  mx::array guidance = input_of(input, "guidance");
  mx::array sigma = input_of(input, "sigma");
  const qwen::Grid size = grids_of(input, "size")[0];
  pipelines::Request request{
      .prompt = text_of(input, "prompt"),
      .negative_prompt = text_of(input, "negative"),
      .height = size.first,
      .width = size.second,
      .guidance = guidance.item<float>()};
  for (int i = 0; input.contains(fmt::format("reference.{}", i)); ++i) {
    request.references.push_back(input_of(input, fmt::format("reference.{}", i)));
  }
  const pipelines::Condition condition = run->condition(request);
  const mx::array& latents = input_of(input, "latents");
  Tensors result = {
      {"text", condition.text.value()},
      {"velocity", run->predict(latents, sigma.item<float>(), condition)}};
  if (condition.negative) result.emplace("negative", *condition.negative);
  if (condition.references) result.emplace("references", *condition.references);
  for (auto& [name, array] : result) array.eval();
  run->drop_transformer();
  const mx::array image = run->decode(latents, size.first, size.second);
  result.emplace("image", image);
  result.emplace("encoded", run->encode(image));
  return result;
}

}  // namespace

const std::map<std::string, Part>& qwen_parts() {
  static const std::map<std::string, Part> parts = {
      {"text_encoder", text_encoder},
      {"vision", vision},
      {"reference", reference},
      {"pipeline", pipeline},
      {"transformer", transformer},
      {"vae_encode", vae_encode},
      {"vae_decode", vae_decode},
  };
  return parts;
}

}  // namespace mflux::probe
