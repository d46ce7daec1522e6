// SPDX-License-Identifier: MIT
#include "mflux/models/qwen/tables.h"

namespace mflux::models::qwen {
namespace {

constexpr std::array kTop = {
    Layer{
        .name = "quant_conv",
        .kind = Kind::conv3d,
        .shape = "* * * * *",
        .mflux = "quant_conv.conv3d"},
    Layer{
        .name = "post_quant_conv",
        .kind = Kind::conv3d,
        .shape = "* * * * *",
        .mflux = "post_quant_conv.conv3d"},
};
constexpr std::array kEnds = {
    Layer{.name = "conv_in", .kind = Kind::conv3d, .shape = "* * * * *", .mflux = "conv_in.conv3d"},
    Layer{
        .name = "conv_out", .kind = Kind::conv3d, .shape = "* A * * *", .mflux = "conv_out.conv3d"},
    Layer{.name = "norm_out", .kind = Kind::gamma4d, .shape = "A * * *", .bias = false},
};
// A channels in, B channels out.
constexpr std::array kResnet = {
    Layer{.name = "norm1", .kind = Kind::gamma4d, .shape = "A * * *", .bias = false},
    Layer{.name = "conv1", .kind = Kind::conv3d, .shape = "B A * * *", .mflux = "conv1.conv3d"},
    Layer{.name = "norm2", .kind = Kind::gamma4d, .shape = "B * * *", .bias = false},
    Layer{.name = "conv2", .kind = Kind::conv3d, .shape = "B B * * *", .mflux = "conv2.conv3d"},
    Layer{
        .name = "conv_shortcut",
        .kind = Kind::conv3d,
        .shape = "B A * * *",
        .optional = true,
        .mflux = "skip_conv.conv3d"},
};
constexpr std::array kAttention = {
    Layer{.name = "norm", .kind = Kind::gamma3d, .shape = "A * *", .bias = false},
    Layer{.name = "to_qkv", .kind = Kind::conv2d, .shape = "3A A * *"},
    Layer{.name = "proj", .kind = Kind::conv2d, .shape = "A A * *"},
};
constexpr std::array kResample = {
    Layer{.name = "resample.1", .kind = Kind::conv2d, .shape = "* A * *", .mflux = "resample_conv"},
};
// Used for video only; mflux has some of them.
constexpr std::array kTimeConv = {
    Layer{
        .name = "time_conv",
        .kind = Kind::conv3d,
        .shape = "* A * * *",
        .mflux = "time_conv.conv3d"},
};

constexpr Block resnet(std::string_view name, std::string_view mflux) {
  return {.name = name, .layers = kResnet, .mflux = mflux};
}
constexpr Block attention(std::string_view name) {
  return {.name = name, .layers = kAttention};
}

constexpr std::array kBlocks = {
    Block{.name = "", .layers = kTop},
    Block{.name = "encoder", .layers = kEnds},
    Block{.name = "decoder", .layers = kEnds},
    Block{
        .name = "encoder.down_blocks.{}",
        .layers = kResnet,
        .mflux = "encoder.down_blocks.{}.resnets.{}",
        .flat = true},
    Block{
        .name = "encoder.down_blocks.{}",
        .layers = kResample,
        .optional = true,
        .mflux = "encoder.down_blocks.{}.downsamplers.0",
        .flat = true},
    Block{
        .name = "encoder.down_blocks.{}",
        .layers = kTimeConv,
        .optional = true,
        .mflux = "encoder.down_blocks.{}.downsamplers.0",
        .flat = true,
        .mflux_skips_stage = 1},
    resnet("encoder.mid_block.resnets.{}", {}),
    attention("encoder.mid_block.attentions.0"),
    resnet("decoder.mid_block.resnets.{}", {}),
    attention("decoder.mid_block.attentions.0"),
    resnet("decoder.up_blocks.{}.resnets.{}", "decoder.up_block{}.resnets.{}"),
    Block{
        .name = "decoder.up_blocks.{}.upsamplers.0",
        .layers = kResample,
        .optional = true,
        .mflux = "decoder.up_block{}.upsamplers.0",
        .between = "decoder.up_blocks.{}.resnets.{}"},
    Block{
        .name = "decoder.up_blocks.{}.upsamplers.0",
        .layers = kTimeConv,
        .optional = true,
        .mflux = "decoder.up_block{}.upsamplers.0"},
};

constexpr std::array kConfig = {
    Statement{.key = "base_dim", .what = "encoder.conv_in"},
    Statement{.key = "input_channels", .what = "encoder.conv_in", .dimension = 1},
    Statement{.key = "z_dim", .what = "post_quant_conv"},
    Statement{.key = "z_dim", .what = "quant_conv", .per = 2},
    Statement{.key = "z_dim", .what = "encoder.conv_out", .per = 2},
    Statement{.key = "z_dim", .what = "decoder.conv_in", .dimension = 1},
    Statement{
        .key = "dim_mult",
        .says = Says::reversed,
        .what = "decoder.up_blocks.{}.resnets.{}.conv1",
        .over = "encoder.conv_in"},
    Statement{
        .key = "num_res_blocks",
        .says = Says::inner,
        .what = "decoder.up_blocks.{}.resnets.{}",
        .more = 1},
    Statement{.key = "latents_mean", .says = Says::values, .what = "post_quant_conv"},
    Statement{.key = "latents_std", .says = Says::values, .what = "post_quant_conv"},
};

}  // namespace

constexpr Component kVae = {
    .name = "vae",
    .blocks = kBlocks,
    .config = kConfig,
    .mflux_bf16 = false,
    .quantized = false,
};

}  // namespace mflux::models::qwen
