// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/vae.h"

#include <cmath>

#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"
#include "mflux/pipelines/tiles.h"

namespace mflux::pipelines::qwen {
namespace {

// The published norm divides by max(|x|, 1e-12); this far below anything that is ever seen.
constexpr float kVaeEps = 1e-24F;
constexpr int kScale = 8;  // pixels to a latent, in each direction

// A convolution in space and time, as one frame sees it.
nn::Conv spatial_conv(const nn::Weights& weights, std::string_view module) {
  nn::Conv conv = weights.conv(module);
  const mx::Shape shape = conv.weight.shape();
  conv.weight = mx::squeeze(mx::slice(conv.weight, {0, shape[1] - 1, 0, 0, 0}, shape), 1);
  return conv;
}

// A 1 x 1 convolution is a product.
nn::Linear pointwise(const nn::Weights& weights, const std::string& module) {
  const nn::Conv conv = weights.conv(module);
  return {
      .name = fmt::format("{}/{}", weights.component(), module),
      .weight = mx::reshape(conv.weight, {conv.weight.shape(0), conv.weight.shape(-1)}),
      .bias = conv.bias};
}

// Padded to keep the size.
mx::array same_conv(const mx::array& x, const nn::Conv& conv) {
  const int rows = conv.weight.shape(1) / 2;
  const int columns = conv.weight.shape(2) / 2;
  return nn::conv2d(x, conv, {.height_padding = {rows, rows}, .width_padding = {columns, columns}});
}

mx::array halved(const mx::array& x, const nn::Conv& conv) {
  return nn::conv2d(x, conv, {.stride = 2, .height_padding = {0, 1}, .width_padding = {0, 1}});
}

mx::array norm(const mx::array& x, const nn::Norm& norm) {
  return nn::rms_norm(x, norm.weight, kVaeEps);
}

mx::array per_channel(const std::vector<float>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::float32);
}

}  // namespace

Vae::Residual Vae::load_residual(const nn::Weights& weights, const std::string& name) {
  Residual block{
      .norm_1 = weights.norm(name + ".norm1"),
      .conv_1 = spatial_conv(weights, name + ".conv1.conv3d"),
      .norm_2 = weights.norm(name + ".norm2"),
      .conv_2 = spatial_conv(weights, name + ".conv2.conv3d")};
  if (weights.has(name + ".skip_conv.conv3d.weight")) {
    block.shortcut = spatial_conv(weights, name + ".skip_conv.conv3d");
  }
  return block;
}

Vae::Half Vae::load_half(
    const nn::Weights& weights,
    std::string_view half,
    std::string_view stage,
    std::string_view resample) {
  const auto name = [&](std::string_view module) { return fmt::format("{}.{}", half, module); };
  Half result{
      .in = spatial_conv(weights, name("conv_in.conv3d")),
      .attention =
          {.norm = weights.norm(name("mid_block.attentions.0.norm")),
           .qkv = pointwise(weights, name("mid_block.attentions.0.to_qkv")),
           .out = pointwise(weights, name("mid_block.attentions.0.proj"))},
      .norm = weights.norm(name("norm_out")),
      .out = spatial_conv(weights, name("conv_out.conv3d"))};
  const auto load_all = [&](const std::string& prefix) {
    std::vector<Residual> blocks;
    const int count = weights.blocks(prefix);
    for (int i = 0; i < count; ++i) {
      blocks.push_back(load_residual(weights, fmt::format("{}{}", prefix, i)));
    }
    return blocks;
  };
  const int stages = weights.blocks(name(stage));
  for (int i = 0; i < stages; ++i) {
    const std::string prefix = fmt::format("{}{}.", name(stage), i);
    Stage part{.residuals = load_all(prefix + "resnets.")};
    const std::string conv = fmt::format("{}{}.0.resample_conv", prefix, resample);
    if (weights.has(conv + ".weight")) part.resample = weights.conv(conv);
    result.stages.push_back(std::move(part));
  }
  result.middle = load_all(name("mid_block.resnets."));
  return result;
}

Vae::Vae(const nn::Weights& weights, const VaeOptions& options)
    : options_(options),
      mean_(0.0F),
      std_(1.0F),
      encoder_(load_half(weights, "encoder", "down_blocks.", "downsamplers")),
      decoder_(load_half(weights, "decoder", "up_block", "upsamplers")),
      quant_(spatial_conv(weights, "quant_conv.conv3d")),
      post_quant_(spatial_conv(weights, "post_quant_conv.conv3d")) {
  const VaeConfig config = vae_config(weights);
  mean_ = per_channel(config.mean);
  std_ = per_channel(config.std);
}

mx::array Vae::run(const mx::array& x, const Residual& block) {
  mx::array y = same_conv(nn::silu(norm(x, block.norm_1)), block.conv_1);
  y = same_conv(nn::silu(norm(y, block.norm_2)), block.conv_2);
  return mx::add(y, block.shortcut ? same_conv(x, *block.shortcut) : x);
}

// One head over all positions.
mx::array Vae::run(const mx::array& x, const Attention& block) {
  const int channels = x.shape(-1);
  const mx::array flat = mx::reshape(norm(x, block.norm), {1, 1, -1, channels});
  const std::vector<mx::array> qkv = mx::split(nn::linear(flat, block.qkv), 3, -1);
  const float scale = 1.0F / std::sqrt(static_cast<float>(channels));
  const mx::array y = nn::linear(nn::attention(qkv[0], qkv[1], qkv[2], scale), block.out);
  return mx::add(x, mx::reshape(y, x.shape()));
}

mx::array Vae::middle(const mx::array& x, const Half& half) {
  mx::array y = x;
  for (size_t i = 0; i < half.middle.size(); ++i) {
    if (i == 1) y = run(y, half.attention);
    y = run(y, half.middle[i]);
  }
  return y;
}

mx::array Vae::encode_tile(const mx::array& image) const {
  mx::array x = same_conv(image, encoder_.in);
  for (const Stage& stage : encoder_.stages) {
    for (const Residual& block : stage.residuals) x = run(x, block);
    if (stage.resample) x = halved(x, *stage.resample);
  }
  x = middle(x, encoder_);
  x = same_conv(nn::silu(norm(x, encoder_.norm)), encoder_.out);
  return mx::split(same_conv(x, quant_), 2, -1)[0];  // the other half is the log of the variance
}

mx::array Vae::decode_tile(const mx::array& latents) const {
  mx::array x = same_conv(same_conv(latents, post_quant_), decoder_.in);
  x = middle(x, decoder_);
  for (const Stage& stage : decoder_.stages) {
    for (const Residual& block : stage.residuals) x = run(x, block);
    if (stage.resample) x = same_conv(nn::upsample_nearest(x), *stage.resample);
  }
  return same_conv(nn::silu(norm(x, decoder_.norm)), decoder_.out);
}

mx::array Vae::encode(const mx::array& image) const {
  if (image.shape(1) % kScale != 0 || image.shape(2) % kScale != 0) {
    fail(
        "vae: takes pictures whose sides are multiples of {} pixels, got {} x {}",
        kScale,
        image.shape(2),
        image.shape(1));
  }
  const auto encode = [this](const mx::array& tile) { return encode_tile(tile); };
  const mx::array z =
      options_.tile ? encode_in_tiles(image, *options_.tile, kScale, encode) : encode_tile(image);
  return mx::divide(mx::subtract(z, mean_), std_);
}

mx::array Vae::decode(const mx::array& latents) const {
  const mx::array z = mx::add(mx::multiply(latents, std_), mean_);
  const auto decode = [this](const mx::array& tile) { return decode_tile(tile); };
  return options_.tile ? decode_in_tiles(z, *options_.tile, kScale, decode) : decode_tile(z);
}

}  // namespace mflux::pipelines::qwen
