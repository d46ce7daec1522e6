// SPDX-License-Identifier: MIT
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
      transformer_.emplace(
          nn::load_weights(model_, "transformer", options_.load),
          TransformerOptions{.low_memory = options_.low_memory});
    }
    const mx::array input =
        condition.references ? mx::concatenate({latents, *condition.references}, 1) : latents;
    const auto velocity = [&](const mx::array& text) {
      const mx::array all = transformer_->predict(
          input, sigma, text, rope(condition, text.shape(1)), latents.shape(1));
      return mx::slice(all, {0, 0, 0}, {1, latents.shape(1), all.shape(2)});
    };
    const mx::array positive = velocity(condition.text.value());
    if (!condition.negative) return positive;
    if (options_.low_memory) mx::eval(positive);
    return guided(positive, velocity(*condition.negative), condition.guidance);
  }

  mx::array encode(const mx::array& image) override {
    check_sizes(image.shape(0), image.shape(1));
    const mx::array latents = [&] {
      const Vae vae = load_vae();
      return encode_with(vae, image);
    }();
    mx::clear_cache();
    return latents;
  }

  mx::array decode(const mx::array& latents, int height, int width) override {
    check_sizes(height, width);
    mx::array image = [&] {
      const Vae vae = load_vae();
      mx::array decoded = vae.decode(unpack(latents, height / kTokenPixels, width / kTokenPixels));
      decoded = mx::squeeze(decoded, 0);
      mx::eval(decoded);
      return decoded;
    }();
    mx::clear_cache();
    return image;
  }

  void drop_transformer() override {
    transformer_.reset();
    ropes_.clear();
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

  Vae load_vae() const {
    announce("vae");
    return Vae(
        nn::load_weights(model_, "vae", load_options(options_, "vae")),
        {.tile = options_.vae_tile});
  }

  static mx::array encode_with(const Vae& vae, const mx::array& image) {
    mx::array latents = pack(vae.encode(mx::expand_dims(image, 0)));
    mx::eval(latents);
    return latents;
  }

  void add_references(const Request& request, Condition& condition) const {
    const Vae vae = load_vae();
    std::vector<mx::array> latents;
    for (const mx::array& picture : request.references) {
      const mx::array image = reference_for_vae(picture);
      latents.push_back(encode_with(vae, image));
      condition.reference_sizes.emplace_back(
          image.shape(0) / kTokenPixels, image.shape(1) / kTokenPixels);
    }
    condition.references = mx::concatenate(latents, 1);
    mx::eval(*condition.references);
  }

  // The same for every step: the last few are kept.
  const Rope& rope(const Condition& condition, int text_tokens) {
    std::vector<Grid> pictures = {{condition.latent_height, condition.latent_width}};
    pictures.insert(
        pictures.end(), condition.reference_sizes.begin(), condition.reference_sizes.end());
    const std::pair key(pictures, text_tokens);
    const auto found = ropes_.find(key);
    if (found != ropes_.end()) return found->second;
    if (ropes_.size() >= kKeptRopes) ropes_.clear();
    return ropes_.emplace(key, transformer_->rope(pictures, text_tokens)).first->second;
  }

  static constexpr size_t kKeptRopes = 8;

  const Checkpoint& model_;
  PipelineOptions options_;
  Defaults defaults_;
  std::optional<Transformer> transformer_ = {};
  std::map<std::pair<std::vector<Grid>, int>, Rope> ropes_ = {};
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
