// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/transformer.h"

#include <algorithm>
#include <cmath>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"

namespace mflux::pipelines::qwen {
namespace {

constexpr float kEps = 1e-6F;
constexpr double kRopeBase = 10'000;

// The angles of one axis, rounded to float32 where the reference rounds.
void append_angles(std::vector<float>& angles, int position, int channels) {
  for (int i = 0; i < channels; i += 2) {
    const double exponent =
        static_cast<double>(static_cast<float>(i) / static_cast<float>(channels));
    const auto frequency = static_cast<float>(1.0 / std::pow(kRopeBase, exponent));
    angles.push_back(static_cast<float>(position) * frequency);
  }
}

std::pair<mx::array, mx::array> turns(
    std::span<const std::array<int, 3>> positions, const TransformerConfig& config) {
  std::vector<float> angles;
  angles.reserve(positions.size() * static_cast<size_t>(config.head_width) / 2);
  for (const auto& position : positions) {
    for (size_t axis = 0; axis < 3; ++axis) {
      append_angles(angles, position[axis], config.rope_axes[axis]);
    }
  }
  std::vector<float> cos(angles.size());
  std::vector<float> sin(angles.size());
  std::ranges::transform(angles, cos.begin(), [](float angle) { return std::cos(angle); });
  std::ranges::transform(angles, sin.begin(), [](float angle) { return std::sin(angle); });
  const mx::Shape shape = {static_cast<int>(positions.size()), config.head_width / 2};
  return {mx::array(cos.begin(), shape), mx::array(sin.begin(), shape)};
}

mx::array tokens(const mx::array& x, int begin, int end) {
  return mx::slice(x, {0, begin, 0}, {x.shape(0), end, x.shape(2)});
}

}  // namespace

std::vector<std::array<int, 3>> image_positions(std::span<const Grid> pictures) {
  std::vector<std::array<int, 3>> positions;
  for (size_t frame = 0; frame < pictures.size(); ++frame) {
    const auto [height, width] = pictures[frame];
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        const int up = height - height / 2;
        const int left = width - width / 2;
        positions.push_back({static_cast<int>(frame), row - up, column - left});
      }
    }
  }
  return positions;
}

int first_text_position(std::span<const Grid> pictures) {
  int first = 0;
  for (const auto& [height, width] : pictures) first = std::max({first, height / 2, width / 2});
  return first;
}

mx::array guided(const mx::array& positive, const mx::array& negative, float guidance) {
  const auto length = [](const mx::array& x) {
    const mx::array square = mx::sum(mx::multiply(x, x), -1, true);
    return mx::sqrt(mx::add(square, mx::array(1e-12F)));
  };
  const mx::array difference = mx::subtract(positive, negative);
  const mx::array combined = mx::add(negative, mx::multiply(mx::array(guidance), difference));
  return mx::multiply(combined, mx::divide(length(positive), length(combined)));
}

// What modulates the tokens from `first` to `last`: shift, scale, gate of attention, then of the
// MLP; each [1, 1, width].
struct Transformer::Moment {
  int first = 0;
  int last = 0;
  mx::array time = mx::array(0.0F);
  std::vector<mx::array> parts = {};

  static std::vector<Moment> of(const nn::Linear& modulation, std::vector<Moment> moments) {
    for (Moment& moment : moments) {
      const mx::array all = mx::expand_dims(nn::linear(moment.time, modulation), 1);
      moment.parts = mx::split(all, 6, -1);
    }
    return moments;
  }
};

namespace {

enum Half : size_t { kAttention = 0, kMlp = 3 };

template <typename Moments, typename Use>
mx::array each_moment(const Moments& moments, const Use& use) {
  if (moments.size() == 1) return use(moments.front());
  std::vector<mx::array> parts;
  for (const auto& moment : moments) parts.push_back(use(moment));
  return mx::concatenate(parts, 1);
}

// (x - mean) / sqrt(var + eps) * (1 + scale) + shift
template <typename Moments>
mx::array modulated(const mx::array& x, const Moments& moments, Half half) {
  return each_moment(moments, [&](const auto& moment) {
    return nn::modulated_layer_norm(
        tokens(x, moment.first, moment.last), moment.parts[half + 1], moment.parts[half], kEps);
  });
}

// x + gate * y
template <typename Moments>
mx::array added(const mx::array& x, const mx::array& y, const Moments& moments, Half half) {
  const mx::array gated = each_moment(moments, [&](const auto& moment) {
    return mx::multiply(moment.parts[half + 2], tokens(y, moment.first, moment.last));
  });
  return mx::add(x, gated);
}

mx::array mlp(const mx::array& x, const nn::Linear& in, const nn::Linear& out) {
  return nn::linear(nn::gelu_tanh(nn::linear(x, in)), out);
}

}  // namespace

Transformer::Transformer(const nn::Weights& weights, const TransformerOptions& options)
    : config_(transformer_config(weights)),
      options_(options),
      image_in_(weights.linear("img_in")),
      text_norm_(weights.norm("txt_norm")),
      text_in_(weights.linear("txt_in")),
      time_1_(weights.linear("time_text_embed.timestep_embedder.linear_1")),
      time_2_(weights.linear("time_text_embed.timestep_embedder.linear_2")),
      norm_out_(weights.linear("norm_out.linear")),
      image_out_(weights.linear("proj_out")) {
  const int count = weights.blocks("transformer_blocks.");
  for (int i = 0; i < count; ++i) blocks_.push_back(load_block(weights, i));
}

Transformer::Block Transformer::load_block(const nn::Weights& weights, int index) {
  const std::string block = fmt::format("transformer_blocks.{}.", index);
  const auto linear = [&](std::string_view name) {
    return weights.linear(fmt::format("{}{}", block, name));
  };
  const auto norm = [&](std::string_view name) {
    return weights.norm(fmt::format("{}{}", block, name));
  };
  return {
      .image =
          {.modulation = linear("img_mod_linear"),
           .q_norm = norm("attn.norm_q"),
           .k_norm = norm("attn.norm_k"),
           .q = linear("attn.to_q"),
           .k = linear("attn.to_k"),
           .v = linear("attn.to_v"),
           .out = linear("attn.attn_to_out.0"),
           .mlp_in = linear("img_ff.mlp_in"),
           .mlp_out = linear("img_ff.mlp_out")},
      .text = {
          .modulation = linear("txt_mod_linear"),
          .q_norm = norm("attn.norm_added_q"),
          .k_norm = norm("attn.norm_added_k"),
          .q = linear("attn.add_q_proj"),
          .k = linear("attn.add_k_proj"),
          .v = linear("attn.add_v_proj"),
          .out = linear("attn.to_add_out"),
          .mlp_in = linear("txt_ff.mlp_in"),
          .mlp_out = linear("txt_ff.mlp_out")}};
}

Rope Transformer::rope(std::span<const Grid> pictures, int text_tokens) const {
  const auto [image_cos, image_sin] = turns(image_positions(pictures), config_);
  std::vector<std::array<int, 3>> text;
  const int first = first_text_position(pictures);
  for (int i = first; i < first + text_tokens; ++i) text.push_back({i, i, i});
  const auto [text_cos, text_sin] = turns(text, config_);
  return {
      .image_cos = image_cos, .image_sin = image_sin, .text_cos = text_cos, .text_sin = text_sin};
}

// The sinusoid of sigma * 1000. The reference rounds sigma * frequency to float32 before it
// multiplies by 1000, which shows in the fifth digit: nn::timestep_embedding() multiplies first.
mx::array Transformer::time_embedding(float sigma) const {
  const int half = time_1_.inputs() / 2;
  std::vector<float> waves(2 * static_cast<size_t>(half));
  for (int i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(-std::log(10'000.0)) * static_cast<float>(i);
    const float frequency = std::exp(exponent / static_cast<float>(half));
    const float angle = 1000.0F * (sigma * frequency);
    waves[static_cast<size_t>(i)] = std::cos(angle);
    waves[static_cast<size_t>(half + i)] = std::sin(angle);
  }
  const mx::array features(waves.begin(), {1, 2 * half}, mx::float32);
  return nn::silu(nn::linear(nn::silu(nn::linear(features, time_1_)), time_2_));
}

Transformer::Heads Transformer::heads(
    const mx::array& x, const Stream& stream, const mx::array& cos, const mx::array& sin) const {
  const auto split = [&](const nn::Linear& projection) {
    return mx::reshape(
        nn::linear(x, projection), {x.shape(0), x.shape(1), config_.heads, config_.head_width});
  };
  const auto turned = [&](const nn::Linear& projection, const nn::Norm& norm) {
    const mx::array normed = nn::rms_norm(split(projection), norm.weight, kEps);
    return nn::rotate_pairs(mx::transpose(normed, {0, 2, 1, 3}), cos, sin);
  };
  return {
      .q = turned(stream.q, stream.q_norm),
      .k = turned(stream.k, stream.k_norm),
      .v = mx::transpose(split(stream.v), {0, 2, 1, 3})};
}

void Transformer::run_block(
    const Block& block,
    mx::array& image,
    mx::array& text,
    const std::vector<Moment>& image_moments,
    const std::vector<Moment>& text_moments,
    const Rope& rope) const {
  const std::vector<Moment> image_times = Moment::of(block.image.modulation, image_moments);
  const std::vector<Moment> text_times = Moment::of(block.text.modulation, text_moments);
  const Heads of_image =
      heads(modulated(image, image_times, kAttention), block.image, rope.image_cos, rope.image_sin);
  const Heads of_text =
      heads(modulated(text, text_times, kAttention), block.text, rope.text_cos, rope.text_sin);
  const mx::array joined = nn::attention(
      mx::concatenate({of_text.q, of_image.q}, 2),
      mx::concatenate({of_text.k, of_image.k}, 2),
      mx::concatenate({of_text.v, of_image.v}, 2),
      1.0F / std::sqrt(static_cast<float>(config_.head_width)),
      {},
      block.image.q.products);
  const mx::array y = mx::reshape(
      mx::transpose(joined, {0, 2, 1, 3}),
      {joined.shape(0), joined.shape(2), config_.heads * config_.head_width});
  const int split = text.shape(1);
  const mx::array image_y = nn::linear(tokens(y, split, y.shape(1)), block.image.out);
  const mx::array text_y = nn::linear(tokens(y, 0, split), block.text.out);
  image = added(image, image_y, image_times, kAttention);
  text = added(text, text_y, text_times, kAttention);

  const auto through = [](const mx::array& x, const auto& times, const Stream& stream) {
    return added(x, mlp(modulated(x, times, kMlp), stream.mlp_in, stream.mlp_out), times, kMlp);
  };
  image = through(image, image_times, block.image);
  text = through(text, text_times, block.text);
}

mx::array Transformer::predict(
    const mx::array& latents,
    float sigma,
    const mx::array& text,
    const Rope& rope,
    int picture_tokens) const {
  mx::array image = nn::linear(latents, image_in_);
  mx::array words = nn::linear(nn::rms_norm(text, text_norm_.weight, kEps), text_in_);
  const int all = image.shape(1);
  const mx::array time = time_embedding(sigma);
  std::vector<Moment> image_moments = {{.first = 0, .last = all, .time = time}};
  if (config_.zero_cond_t && picture_tokens < all) {
    image_moments.front().last = picture_tokens;
    image_moments.push_back({.first = picture_tokens, .last = all, .time = time_embedding(0)});
  }
  const std::vector<Moment> text_moments = {{.first = 0, .last = words.shape(1), .time = time}};
  for (const Block& block : blocks_) {
    run_block(block, image, words, image_moments, text_moments, rope);
    if (options_.low_memory) mx::eval(image, words);
  }
  const std::vector<mx::array> last =
      mx::split(mx::expand_dims(nn::linear(time, norm_out_), 1), 2, -1);
  return nn::linear(nn::modulated_layer_norm(image, last[0], last[1], kEps), image_out_);
}

}  // namespace mflux::pipelines::qwen
