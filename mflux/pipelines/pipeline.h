// SPDX-License-Identifier: MIT
// A model family at work: text encoders, transformer and VAE behind one interface, so that the loop
// over steps is the same for all. Memory is the pipeline's policy: text encoders are loaded, used
// and dropped before the transformer is loaded.
//
//   std::unique_ptr<Pipeline> pipeline = make_pipeline(model, options);  // registry.h
//   const Condition condition = pipeline->condition(request);
//   mx::array latents = ...;                      // [1, tokens, values]
//   latents = step(latents, pipeline->predict(latents, sigma, condition));
//   const mx::array image = pipeline->decode(latents, request.height, request.width);
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/mlx.h"
#include "mflux/nn/schedule.h"
#include "mflux/nn/weights.h"

namespace mflux::pipelines {

// What the pictures of a family are like, whatever its files say.
struct PictureFacts {
  // Along a side: of a token, and of a position of the VAE's latents. Heights and widths are
  // multiples of the first.
  int token_pixels = 16;
  int latent_pixels = 8;
  // Of a picture's token, in latents and velocities: the VAE's channels at its positions.
  int token_values = 64;
  // Height and width where nobody says them, in pixels.
  int side = 1024;
  // It looks at the picture that others begin with.
  bool edits = false;
  // The pictures it looks at must have the size of the one it draws; else it resizes them itself.
  bool takes_fitted_references = false;
};

// Where a model stands on what nobody asked for; read from its files.
struct Defaults {
  int steps = 25;
  float guidance = 3.5F;
  bool uses_guidance = true;  // schnell does not
  bool uses_negative_prompt = false;
  // By the number of a picture's tokens; none: sigmas are not shifted.
  std::optional<nn::ScheduleShift> shift = nn::ScheduleShift{};
};

// What is wanted of a picture, as far as the networks see it.
struct Request {
  std::string prompt = {};
  std::string negative_prompt = {};
  int height = 1024;  // pixels, multiples of PictureFacts::token_pixels
  int width = 1024;
  float guidance = 3.5F;
  // Pictures the model looks at (Kontext, Fill, Qwen-Image-Edit), float32 [height, width, 3] in
  // -1..1, of any size unless PictureFacts::takes_fitted_references.
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
  int latent_height = 0;  // in tokens
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
  // The velocity at `sigma`, guidance applied: float32 [1, tokens, values]. Not evaluated. Loads
  // the transformer the first time.
  virtual mx::array predict(const mx::array& latents, float sigma, const Condition& condition) = 0;
  // float32 [height, width, 3] in -1..1 -> latents [1, tokens, values], scaled as the transformer
  // has them. Evaluated; the VAE is dropped.
  virtual mx::array encode(const mx::array& image) = 0;
  // latents [1, tokens, values] -> float32 [height, width, 3], nominally in -1..1. Evaluated.
  virtual mx::array decode(const mx::array& latents, int height, int width) = 0;
  virtual void drop_transformer() = 0;  // before decoding, where memory is short
};

// A family's row in the registry: all that the loop over steps knows of it.
struct PictureFamily {
  // What models::family_variant() calls it.
  std::string_view variant;
  PictureFacts facts;
  // `model` and what `options` point to must outlive the pipeline. Throws Error if a component is
  // missing.
  std::unique_ptr<Pipeline> (*make)(const Checkpoint& model, PipelineOptions options);
};

}  // namespace mflux::pipelines
