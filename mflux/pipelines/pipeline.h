// SPDX-License-Identifier: MIT
// A model family at work: text encoders, transformer and VAE behind one interface, so that the loop
// over steps is the same for all. Memory is the pipeline's policy: text encoders are loaded, used
// and dropped before the transformer is loaded.
//
//   std::unique_ptr<Pipeline> pipeline = make_pipeline(model, options);
//   const Condition condition = pipeline->condition(request);
//   mx::array latents = ...;                      // [1, tokens, 64]
//   latents = step(latents, pipeline->predict(latents, sigma, condition));
//   const mx::array image = pipeline->decode(latents, request.height, request.width);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/mlx.h"
#include "mflux/nn/weights.h"

namespace mflux::pipelines {

// Where a model stands on what nobody asked for; read from its files.
struct Defaults {
  int steps = 25;
  float guidance = 3.5F;
  bool uses_guidance = true;  // schnell does not
  bool uses_negative_prompt = false;
  bool shifts_schedule = true;  // sigma is shifted by the number of tokens
  // The line through (tokens, mu) of the exponential shift.
  float base_tokens = 256;
  float base_shift = 0.5F;
  float max_tokens = 4096;
  float max_shift = 1.15F;
  std::optional<float> terminal = {};  // the last sigma is stretched to this
};

// What is wanted of a picture, as far as the networks see it.
struct Request {
  std::string prompt = {};
  std::string negative_prompt = {};
  int height = 1024;  // pixels, multiples of 16
  int width = 1024;
  float guidance = 3.5F;
  // Pictures the model looks at (Kontext, Fill, Qwen-Image-Edit), float32 [height, width, 3] in
  // -1..1, any size.
  std::vector<mx::array> references = {};
  std::optional<mx::array> mask = {};  // Fill: float32 [height, width], 1 where to paint
};

// What a step needs besides latents and sigma; evaluated. What a family does not use is empty.
struct Condition {
  std::optional<mx::array> text = {};      // [1, text tokens, width]
  std::optional<mx::array> pooled = {};    // [1, width]
  std::optional<mx::array> negative = {};  // as text
  // Latents of reference pictures [1, tokens, channels], and how many tokens (height, width) each
  // has.
  std::optional<mx::array> references = {};
  std::vector<std::pair<int, int>> reference_sizes = {};
  int latent_height = 0;  // in tokens: height / 16
  int latent_width = 0;
  float guidance = 0;
  std::vector<std::string> notes = {};  // for the user: a prompt that was cut
};

struct PipelineOptions {
  nn::LoadOptions load = {};
  bool low_memory = false;  // evaluates the transformer block by block
  // Side of the VAE's tiles in pixels, a multiple of 16; none: the picture at once.
  std::optional<int> vae_tile = {};
  // Called before a component is loaded.
  std::function<void(std::string_view component)> on_load = {};
};

// Those of one component: a VAE, which makes the pixels, computes in float32 always.
nn::LoadOptions load_options(const PipelineOptions& options, std::string_view component);

class Pipeline {
 public:
  Pipeline() = default;
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  virtual ~Pipeline() = default;

  virtual Defaults defaults() const = 0;
  // Loads the text encoders (and the VAE for references), uses and drops them. Throws Error for
  // pictures the model cannot take, or lacks.
  virtual Condition condition(const Request& request) = 0;
  // The velocity at `sigma`, guidance applied: float32 [1, tokens, 64]. Not evaluated. Loads the
  // transformer the first time.
  virtual mx::array predict(const mx::array& latents, float sigma, const Condition& condition) = 0;
  // float32 [height, width, 3] in -1..1 -> latents [1, tokens, 64], scaled as the transformer has
  // them. Evaluated; the VAE is dropped.
  virtual mx::array encode(const mx::array& image) = 0;
  // latents [1, tokens, 64] -> float32 [height, width, 3], nominally in -1..1. Evaluated.
  virtual mx::array decode(const mx::array& latents, int height, int width) = 0;
  virtual void drop_transformer() = 0;  // before decoding, where memory is short
};

// `model` and what `options` point to must outlive it. Throws Error if a component is missing.
std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options);
std::unique_ptr<Pipeline> make_flux_pipeline(const Checkpoint& model, PipelineOptions options);
std::unique_ptr<Pipeline> make_qwen_pipeline(const Checkpoint& model, PipelineOptions options);

}  // namespace mflux::pipelines
