// SPDX-License-Identifier: MIT
// A prompt stands in a chat's template, whose first tokens are dropped from what the encoder says.
// The pictures of an edit go through the vision tower first; their features replace embeddings of
// placeholder tokens in the template.
#include "mflux/pipelines/qwen/conditioner.h"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/attend.h"
#include "mflux/pipelines/qwen/config.h"
#include "mflux/pipelines/qwen/prompt.h"
#include "mflux/pipelines/qwen/references.h"
#include "mflux/pipelines/qwen/text_encoder.h"
#include "mflux/pipelines/qwen/vision.h"
#include "mflux/pipelines/resample.h"
#include "mflux/tokenizer/tokenizer.h"

namespace mflux::pipelines::qwen {
namespace {

mx::array resized(const mx::array& image, int area) {
  const PictureSize size = fit_area({.height = image.shape(0), .width = image.shape(1)}, area);
  return resample(image, size.height, size.width, Filter::lanczos);
}

struct Pictures {
  std::vector<int> tokens = {};            // of each
  std::optional<mx::array> features = {};  // [tokens of all, width]
  bool named = true;
};

Pictures look_at(
    const Checkpoint& model, const nn::Weights& weights, const std::vector<mx::array>& images) {
  Pictures result{.named = names_pictures(model)};
  if (!result.named && images.size() > 1) {
    fail(
        ErrorKind::usage,
        "{}: this Qwen-Image-Edit takes one picture, got {}",
        model.path.string(),
        images.size());
  }
  const VisionTower tower = load_vision_tower(weights, vision_config(model, weights));
  const PixelLimits limits = pixel_limits(model);
  std::vector<mx::array> features;
  for (const mx::array& image : images) {
    const int area = result.named ? kNamedVisionArea : kVisionArea;
    const VisionInput input = vision_input(resized(image, area), tower.config, limits);
    features.push_back(encode(tower, input.patches, input.grid));
    result.tokens.push_back(features.back().shape(0));
  }
  result.features = mx::concatenate(features, 0);
  return result;
}

// Opened once for the prompt and the negative one.
struct Reader {
  std::filesystem::path folder;
  tokenizer::Tokenizer tokenizer;
  TextEncoder network;
};

// Throws Error if the tokenizer is not this encoder's.
void check(const Reader& reader, const std::vector<int32_t>& ids, const Prompt& prompt) {
  const std::string folder = reader.folder.string();
  if (ids.size() <= prompt.dropped) {
    fail(
        "{}: gives {} tokens where Qwen2.5-VL's gives more than {}",
        folder,
        ids.size(),
        prompt.dropped);
  }
  const int32_t largest = *std::ranges::max_element(ids);
  const int vocabulary = reader.network.tokens.rows();
  if (largest >= vocabulary) {
    fail("{}: token {} is outside the text encoder's {} embeddings", folder, largest, vocabulary);
  }
}

// The pictures' features take the places of their tokens.
mx::array with_pictures(
    const Reader& reader,
    const mx::array& embeddings,
    const std::vector<int32_t>& ids,
    const Pictures& pictures) {
  const auto image_token = reader.tokenizer.find(kImageToken);
  if (!image_token) fail("{}: has no token '{}'", reader.folder.string(), kImageToken);
  const auto words = static_cast<int>(ids.size());
  std::vector<int> sources;
  int next = words;
  for (size_t i = 0; i < ids.size(); ++i) {
    sources.push_back(ids[i] == *image_token ? next++ : static_cast<int>(i));
  }
  const int expected = std::accumulate(pictures.tokens.begin(), pictures.tokens.end(), 0);
  if (next - words != expected) {
    fail(
        ErrorKind::usage,
        "the prompt has {} tokens '{}' of its own; those stand for pictures",
        next - words - expected,
        kImageToken);
  }
  const mx::array all = mx::concatenate({mx::squeeze(embeddings, 0), *pictures.features}, 0);
  return mx::expand_dims(mx::take(all, mx::array(sources.begin(), {words}, mx::int32), 0), 0);
}

struct Hidden {
  mx::array states;     // of what is left of a prompt: [1, tokens, width]
  size_t left_out = 0;  // tokens that were too many
};

Hidden read(const Reader& reader, const Prompt& prompt, const Pictures* pictures) {
  // The references cut a text, but never one that speaks of pictures.
  tokenizer::EncodeOptions options;
  if (pictures == nullptr) options.max_length = kMaxTokens;
  const tokenizer::Encoding tokens = reader.tokenizer.encode(prompt.text, options);
  check(reader, tokens.ids, prompt);
  const auto count = static_cast<int>(tokens.ids.size());
  mx::array embeddings =
      embed(reader.network, mx::array(tokens.ids.begin(), {1, count}, mx::int32));
  if (pictures != nullptr) embeddings = with_pictures(reader, embeddings, tokens.ids, *pictures);
  // Positions are 0, 1, 2, ... for pictures too: neither diffusers (with transformers 5) nor
  // Python's mflux tells the encoder where in a picture a token stands.
  const mx::array hidden = encode(reader.network, embeddings);
  mx::array kept = mx::contiguous(tokens_between(hidden, static_cast<int>(prompt.dropped), count));
  mx::eval(kept);
  return {kept, tokens.left_out};
}

}  // namespace

Condition encode_prompts(
    const Checkpoint& model,
    const Request& request,
    const nn::LoadOptions& options,
    const std::function<void()>& on_load) {
  on_load();
  const nn::Weights weights = nn::load_weights(model, "text_encoder", options);
  const std::filesystem::path folder = model.path / "tokenizer";
  const Reader reader{
      folder,
      tokenizer::Tokenizer::open(folder),
      load_text_encoder(weights, text_config(model, weights))};
  Condition result;
  const auto read_noted = [&](std::string_view what, const Prompt& prompt, const Pictures* seen) {
    const Hidden hidden = read(reader, prompt, seen);
    if (hidden.left_out > 0) {
      result.notes.push_back(
          fmt::format("the {} is too long: its last {} tokens were cut", what, hidden.left_out));
    }
    return hidden.states;
  };
  const auto encode_both =
      [&](const Prompt& positive, const Prompt& negative, const Pictures* seen) {
        result.text = read_noted("prompt", positive, seen);
        if (request.guidance == 1) return;
        result.negative = read_noted("negative prompt", negative, seen);
      };
  if (request.references.empty()) {
    encode_both(
        text_prompt(request.prompt),
        text_prompt(negative_or_space(request.negative_prompt)),
        nullptr);
    return result;
  }
  const Pictures pictures = look_at(model, weights, request.references);
  encode_both(
      edit_prompt(request.prompt, pictures.tokens, pictures.named),
      edit_prompt(request.negative_prompt, pictures.tokens, pictures.named),
      &pictures);
  return result;
}

mx::array reference_for_vae(const mx::array& image) {
  return resized(image, kVaeArea);
}

}  // namespace mflux::pipelines::qwen
