// SPDX-License-Identifier: MIT
// As FLUX.1's: text encoder, VAE for references, transformer, VAE. A step runs the transformer
// twice, for the prompt and the negative one, unless guidance is 1. Rotations are kept for the last
// few sizes of text and pictures.
#include "mflux/pipelines/qwen/pipeline.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/packing.h"
#include "mflux/pipelines/qwen/conditioner.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/transformer.h"
#include "mflux/pipelines/qwen/vae.h"

namespace mflux::pipelines::qwen {
namespace {

constexpr int kTokenPixels = kFacts.token_pixels;

class QwenPipeline : public Pipeline {
 public:
  QwenPipeline(const Checkpoint& model, PipelineOptions options)
      : model_(model), options_(std::move(options)), defaults_(schedule_defaults(model)) {}

  Defaults defaults() const override { return defaults_; }

  Condition condition(const Request& request) override {
    check_sizes(request.height, request.width);
    if (request.mask) fail(ErrorKind::usage, "{}: takes no mask", title());
    const bool edits = models::family_variant(*model_.family) == kEditFamily.variant;
    if (edits && request.references.empty()) {
      fail(ErrorKind::usage, "{}: needs a picture to edit", title());
    }
    if (!edits && !request.references.empty()) {
      fail(
          ErrorKind::usage,
          "{}: takes no reference pictures (Qwen-Image-Edit does); --image begins with a picture",
          title());
    }
    Condition result =
        encode_prompts(model_, request, options_.load, [this] { announce("text_encoder"); });
    mx::clear_cache();
    if (edits) add_references(request, result);
    result.latent_height = request.height / kTokenPixels;
    result.latent_width = request.width / kTokenPixels;
    result.guidance = request.guidance;
    return result;
  }

  mx::array predict(const mx::array& latents, float sigma, const Condition& condition) override {
    if (!transformer_) {
      announce("transformer");
      transformer_ = load_transformer(nn::load_weights(model_, "transformer", options_.load));
    }
    const mx::array tokens =
        condition.references ? mx::concatenate({latents, *condition.references}, 1) : latents;
    const int count = latents.shape(1);
    const auto predicted = [&](const mx::array& text) {
      const TransformerInput input{
          .tokens = tokens,
          .picture_tokens = count,
          .text = text,
          .sigma = sigma,
          .rotation = rotation_of(condition, text.shape(1))};
      const mx::array all = velocity(*transformer_, input, options_.low_memory);
      return mx::slice(all, {0, 0, 0}, {1, count, all.shape(2)});
    };
    const mx::array positive = predicted(condition.text.value());
    if (!condition.negative) return positive;
    if (options_.low_memory) mx::eval(positive);
    return guided(positive, predicted(*condition.negative), condition.guidance);
  }

  mx::array encode(const mx::array& image) override {
    check_sizes(image.shape(0), image.shape(1));
    mx::array latents = latents_of(open_vae(), image);
    mx::clear_cache();
    return latents;
  }

  mx::array decode(const mx::array& latents, int height, int width) override {
    check_sizes(height, width);
    const mx::array squares = unpack(latents, height / kTokenPixels, width / kTokenPixels);
    mx::array image = mx::squeeze(qwen::decode(open_vae(), squares, options_.vae_tile), 0);
    mx::eval(image);
    mx::clear_cache();
    return image;
  }

  void drop_transformer() override {
    transformer_.reset();
    rotations_.clear();
    mx::clear_cache();
  }

 private:
  std::string title() const { return std::string(models::family_title(*model_.family)); }

  void announce(std::string_view component) const {
    if (options_.on_load) options_.on_load(component);
  }

  static void check_sizes(int height, int width) {
    if (height >= kTokenPixels && width >= kTokenPixels && height % kTokenPixels == 0 &&
        width % kTokenPixels == 0) {
      return;
    }
    fail(
        ErrorKind::usage,
        "a picture of {} x {} pixels: both must be multiples of {}",
        width,
        height,
        kTokenPixels);
  }

  Vae open_vae() const {
    announce("vae");
    return load_vae(nn::load_weights(model_, "vae", load_options(options_, "vae")));
  }

  mx::array latents_of(const Vae& vae, const mx::array& image) const {
    mx::array latents = pack(qwen::encode(vae, mx::expand_dims(image, 0), options_.vae_tile));
    mx::eval(latents);
    return latents;
  }

  void add_references(const Request& request, Condition& condition) const {
    const Vae vae = open_vae();
    std::vector<mx::array> latents;
    for (const mx::array& picture : request.references) {
      const mx::array image = reference_for_vae(picture);
      latents.push_back(latents_of(vae, image));
      condition.reference_sizes.emplace_back(
          image.shape(0) / kTokenPixels, image.shape(1) / kTokenPixels);
    }
    condition.references = mx::concatenate(latents, 1);
    mx::eval(*condition.references);
  }

  // The same for every step: the last few are kept.
  const Rotation& rotation_of(const Condition& condition, int text_tokens) {
    std::vector<Grid> pictures = {{condition.latent_height, condition.latent_width}};
    pictures.insert(
        pictures.end(), condition.reference_sizes.begin(), condition.reference_sizes.end());
    const std::pair key(pictures, text_tokens);
    const auto found = rotations_.find(key);
    if (found != rotations_.end()) return found->second;
    if (rotations_.size() >= kKeptRotations) rotations_.clear();
    return rotations_.emplace(key, rotation(pictures, text_tokens, transformer_->config))
        .first->second;
  }

  static constexpr size_t kKeptRotations = 8;

  const Checkpoint& model_;
  PipelineOptions options_;
  Defaults defaults_;
  std::optional<Transformer> transformer_ = {};
  std::map<std::pair<std::vector<Grid>, int>, Rotation> rotations_ = {};
};

}  // namespace

std::unique_ptr<Pipeline> make_pipeline(const Checkpoint& model, PipelineOptions options) {
  if (models::family_name(*model.family) != kFamily.variant) {
    fail(
        "{}: is {}, expected Qwen-Image", model.path.string(), models::family_title(*model.family));
  }
  for (const std::string& component : models::weight_components(*model.family)) {
    const bool found = std::ranges::any_of(
        model.components, [&](const Component& part) { return part.name == component; });
    if (!found) fail("{}: has no component '{}'", model.path.string(), component);
  }
  return std::make_unique<QwenPipeline>(model, std::move(options));
}

}  // namespace mflux::pipelines::qwen
