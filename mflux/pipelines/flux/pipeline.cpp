// SPDX-License-Identifier: MIT
// Each network is loaded, evaluated and dropped before the next one, but for the transformer, which
// stays for all steps and pictures. The rotation is the same for every step and kept.
#include "mflux/pipelines/flux/pipeline.h"

#include <string>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/flux/clip.h"
#include "mflux/pipelines/flux/t5.h"
#include "mflux/pipelines/flux/transformer.h"
#include "mflux/pipelines/flux/vae.h"
#include "mflux/pipelines/flux/variant.h"
#include "mflux/pipelines/packing.h"
#include "mflux/tokenizer/tokenizer.h"

namespace mflux::pipelines::flux {
namespace {

constexpr int kPixels = kFacts.token_pixels;

// The mask's pixels of each latent, 8 x 8, become its channels: [height, width] -> [1, tokens,
// 256].
mx::array packed_mask(const mx::array& mask) {
  constexpr int kSide = kFacts.latent_pixels;
  const int rows = mask.shape(0) / kSide;
  const int columns = mask.shape(1) / kSide;
  const mx::array squares = mx::reshape(mask, {1, rows, kSide, columns, kSide});
  return pack(
      mx::reshape(mx::transpose(squares, {0, 1, 3, 2, 4}), {1, rows, columns, kSide * kSide}));
}

// As PictureFacts say, and as Python's mflux does it: a reference is as large as the picture.
void check_reference(const mx::array& picture, int height, int width) {
  if (picture.ndim() != 3 || picture.shape(2) != 3) {
    fail(ErrorKind::usage, "a reference picture that is not height x width x 3");
  }
  if (picture.shape(0) == height && picture.shape(1) == width) return;
  fail(
      ErrorKind::usage,
      "a reference of {} x {} pixels, expected {} x {}",
      picture.shape(1),
      picture.shape(0),
      width,
      height);
}

class FluxPipeline : public Pipeline {
 public:
  FluxPipeline(const Checkpoint& model, PipelineOptions options)
      : model_(model), options_(std::move(options)), variant_(variant_of(model)) {}

  Defaults defaults() const override { return defaults_of(variant_); }

  Condition condition(const Request& request) override {
    check(request, variant_);
    Condition result;
    result.guidance = request.guidance;
    result.latent_height = request.height / kPixels;
    result.latent_width = request.width / kPixels;
    // What is missing shows before gigabytes are read.
    const auto clip_ids = tokens("tokenizer", tokenizer::Kind::clip, 77, request.prompt, result);
    const auto t5_ids = tokens(
        "tokenizer_2", tokenizer::Kind::t5, variant_.guidance ? 512 : 256, request.prompt, result);
    result.pooled = evaluated(flux::encode(load_clip(load("text_encoder")), clip_ids).pooled);
    result.text = evaluated(flux::encode(load_t5(load("text_encoder_2")), t5_ids));
    if (!request.references.empty()) add_pictures(request, result);
    return result;
  }

  mx::array predict(const mx::array& latents, float sigma, const Condition& condition) override {
    if (!transformer_) transformer_ = load_transformer(load("transformer"));
    const bool beside = variant_.pictures == Pictures::optional && condition.references;
    Layout layout{
        .text_tokens = condition.text.value().shape(1),
        .image = {condition.latent_height, condition.latent_width},
    };
    mx::array tokens = latents;
    if (condition.references) {
      tokens = mx::concatenate({latents, *condition.references}, beside ? 1 : 2);
      if (beside) layout.reference = condition.reference_sizes.at(0);
    }
    if (!rotation_ || layout_ != layout) {
      rotation_ = rotation(layout, transformer_->config);
      layout_ = layout;
    }
    constexpr float kTimes = 1000;
    const TransformerInput input{
        .tokens = tokens,
        .text = *condition.text,
        .pooled = condition.pooled.value(),
        .timestep = rounded_to_bfloat16(sigma * kTimes),
        .guidance = rounded_to_bfloat16(condition.guidance * kTimes),
        .rotation = *rotation_,
    };
    const mx::array all = velocity(*transformer_, input, options_.low_memory);
    return beside ? mx::slice(all, {0, 0, 0}, latents.shape()) : all;
  }

  mx::array encode(const mx::array& image) override {
    return evaluated(latents_of(load_vae(load("vae")), image));
  }

  mx::array decode(const mx::array& latents, int height, int width) override {
    const mx::array squares = unpack(latents, height / kPixels, width / kPixels);
    const mx::array image = flux::decode(load_vae(load("vae")), squares, options_.vae_tile);
    return evaluated(mx::squeeze(image, 0));
  }

  void drop_transformer() override {
    transformer_.reset();
    mx::clear_cache();
  }

 private:
  nn::Weights load(std::string_view component) const {
    mx::clear_cache();  // what the last component took
    if (options_.on_load) options_.on_load(component);
    return nn::load_weights(model_, component, load_options(options_, component));
  }

  // What a component was loaded for. Only what is not evaluated yet holds its weights, so they go.
  static mx::array evaluated(const mx::array& result) {
    mx::eval(result);
    return result;
  }

  // The prompt as its encoder was trained to read it: cut or filled up to `length`.
  std::vector<int32_t> tokens(
      std::string_view folder,
      tokenizer::Kind kind,
      size_t length,
      const std::string& prompt,
      Condition& result) const {
    const auto tokenizer = tokenizer::Tokenizer::open(model_.path / folder);
    if (tokenizer.kind() != kind) {
      fail("{}: is not the tokenizer of FLUX.1", (model_.path / folder).string());
    }
    const tokenizer::Encoding encoding =
        tokenizer.encode(prompt, {.max_length = length, .pad_to = length});
    if (encoding.left_out > 0) {
      result.notes.push_back(fmt::format(
          "the prompt is too long for {}, which reads {} tokens: the last {} are left out",
          kind == tokenizer::Kind::clip ? "CLIP" : "T5",
          length,
          encoding.left_out));
    }
    return encoding.ids;
  }

  void add_pictures(const Request& request, Condition& result) const {
    const mx::array& picture = request.references[0];
    check_reference(picture, request.height, request.width);
    const Vae vae = load_vae(load("vae"));
    if (variant_.pictures != Pictures::fill) {
      result.references = evaluated(latents_of(vae, picture));
      result.reference_sizes = {{result.latent_height, result.latent_width}};
    } else {
      const mx::array mask =
          mx::astype(mx::greater_equal(*request.mask, mx::array(0.5F)), mx::float32);
      const mx::array seen = mx::expand_dims(mx::subtract(mx::array(1.0F), mask), 2);
      result.references = evaluated(
          mx::concatenate({latents_of(vae, mx::multiply(picture, seen)), packed_mask(mask)}, 2));
    }
  }

  // [height, width, 3] -> [1, tokens, 64]
  mx::array latents_of(const Vae& vae, const mx::array& image) const {
    if (image.ndim() != 3 || image.shape(0) % kPixels + image.shape(1) % kPixels != 0) {
      fail(ErrorKind::usage, "a picture whose height or width is not a multiple of {}", kPixels);
    }
    return pack(flux::encode(vae, mx::expand_dims(image, 0), options_.vae_tile));
  }

  const Checkpoint& model_;
  PipelineOptions options_;
  Variant variant_;
  std::optional<Transformer> transformer_ = {};
  Layout layout_ = {};  // of rotation_
  std::optional<Rotation> rotation_ = {};
};

}  // namespace

std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options) {
  return std::make_unique<FluxPipeline>(model, std::move(options));
}

}  // namespace mflux::pipelines::flux
