// SPDX-License-Identifier: MIT
#include <mlx/mlx.h>

#include "mflux/nn/weights.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/text_encoder.h"
#include "mflux/pipelines/qwen/transformer.h"
#include "mflux/pipelines/qwen/vae.h"
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

// ids [batch, tokens]; positions [3, tokens], or none -> hidden [batch, tokens, width]
Tensors text_encoder(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "text_encoder", {});
  const qwen::TextEncoder encoder(weights, qwen::text_config(model, weights));
  std::optional<mx::array> positions;
  if (input.contains("positions")) positions = input_of(input, "positions");
  return {{"hidden", encoder.encode(encoder.embed(input_of(input, "ids")), positions)}};
}

// latents [1, tokens, channels], sigma [1], text [1, tokens, width], pictures [n, 2] -> velocity
Tensors transformer(const Checkpoint& model, const Tensors& input) {
  const nn::Weights weights = nn::load_weights(model, "transformer", {});
  const qwen::Transformer network(weights, {.low_memory = input.contains("low_memory")});
  const std::vector<qwen::Grid> pictures = grids_of(input, "pictures");
  const mx::array& text = input_of(input, "text");
  mx::array sigma = input_of(input, "sigma");
  return {
      {"velocity",
       network.predict(
           input_of(input, "latents"),
           sigma.item<float>(),
           text,
           network.rope(pictures, text.shape(1)),
           pictures[0].first * pictures[0].second)}};
}

qwen::Vae vae(const Checkpoint& model, const Tensors& input) {
  qwen::VaeOptions options;
  if (input.contains("tile")) {
    mx::array tile = input_of(input, "tile");
    options.tile = tile.item<int32_t>();
  }
  return qwen::Vae(nn::load_weights(model, "vae", {}), options);
}

// image [1, height, width, 3] -> latents [1, height / 8, width / 8, channels]
Tensors vae_encode(const Checkpoint& model, const Tensors& input) {
  return {{"latents", vae(model, input).encode(input_of(input, "image"))}};
}

Tensors vae_decode(const Checkpoint& model, const Tensors& input) {
  return {{"image", vae(model, input).decode(input_of(input, "latents"))}};
}

}  // namespace

const std::map<std::string, Part>& qwen_parts() {
  static const std::map<std::string, Part> parts = {
      {"text_encoder", text_encoder},
      {"transformer", transformer},
      {"vae_encode", vae_encode},
      {"vae_decode", vae_decode},
  };
  return parts;
}

}  // namespace mflux::probe
