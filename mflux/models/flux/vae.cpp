// SPDX-License-Identifier: MIT
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

constexpr std::array kEnds = {
    Layer{.name = "conv_in", .kind = Kind::conv2d, .shape = "* * * *", .mflux = "conv_in.conv2d"},
    Layer{.name = "conv_out", .kind = Kind::conv2d, .shape = "* A * *", .mflux = "conv_out.conv2d"},
    Layer{.name = "conv_norm_out", .kind = Kind::norm, .shape = "A", .mflux = "conv_norm_out.norm"},
};
// A channels in, B channels out.
constexpr std::array kResnet = {
    Layer{.name = "norm1", .kind = Kind::norm, .shape = "A"},
    Layer{.name = "conv1", .kind = Kind::conv2d, .shape = "B A * *"},
    Layer{.name = "norm2", .kind = Kind::norm, .shape = "B"},
    Layer{.name = "conv2", .kind = Kind::conv2d, .shape = "B B * *"},
    Layer{.name = "conv_shortcut", .kind = Kind::conv2d, .shape = "B A * *", .optional = true},
};
constexpr std::array kAttention = {
    Layer{.name = "group_norm", .kind = Kind::norm, .shape = "A"},
    Layer{.name = "to_q", .shape = "A A"},
    Layer{.name = "to_k", .shape = "A A"},
    Layer{.name = "to_v", .shape = "A A"},
    Layer{.name = "to_out.0", .shape = "A A"},
};
constexpr std::array kResample = {
    Layer{.name = "conv", .kind = Kind::conv2d, .shape = "A A * *"},
};
// FLUX.1 has neither
constexpr std::array kQuantConv = {
    Layer{.name = "quant_conv", .kind = Kind::conv2d, .shape = "* * * *", .optional = true},
    Layer{.name = "post_quant_conv", .kind = Kind::conv2d, .shape = "* * * *", .optional = true},
};

constexpr std::array kBlocks = {
    Block{.name = "encoder", .layers = kEnds},
    Block{.name = "decoder", .layers = kEnds},
    Block{.name = "encoder.down_blocks.{}.resnets.{}", .layers = kResnet},
    Block{
        .name = "encoder.down_blocks.{}.downsamplers.0",
        .layers = kResample,
        .optional = true,
        .between = "encoder.down_blocks.{}.resnets.{}"},
    Block{.name = "encoder.mid_block.resnets.{}", .layers = kResnet},
    Block{.name = "encoder.mid_block.attentions.0", .layers = kAttention},
    Block{.name = "decoder.up_blocks.{}.resnets.{}", .layers = kResnet},
    Block{
        .name = "decoder.up_blocks.{}.upsamplers.0",
        .layers = kResample,
        .optional = true,
        .between = "decoder.up_blocks.{}.resnets.{}"},
    Block{.name = "decoder.mid_block.resnets.{}", .layers = kResnet},
    Block{.name = "decoder.mid_block.attentions.0", .layers = kAttention},
    Block{.name = "", .layers = kQuantConv, .optional = true},
};

constexpr std::array kConfig = {
    Statement{.key = "in_channels", .what = "encoder.conv_in", .dimension = 1},
    Statement{.key = "out_channels", .what = "decoder.conv_out"},
    Statement{.key = "latent_channels", .what = "encoder.conv_out", .per = 2},
    Statement{.key = "latent_channels", .what = "decoder.conv_in", .dimension = 1},
    Statement{
        .key = "block_out_channels",
        .says = Says::widths,
        .what = "encoder.down_blocks.{}.resnets.{}.conv1"},
    Statement{
        .key = "block_out_channels",
        .says = Says::reversed,
        .what = "decoder.up_blocks.{}.resnets.{}.conv1"},
    Statement{
        .key = "layers_per_block",
        .says = Says::inner,
        .what = "encoder.down_blocks.{}.resnets.{}"},
    Statement{
        .key = "norm_num_groups",
        .says = Says::divisor,
        .what = "encoder.down_blocks.{}.resnets.{}.norm1"},
    Statement{.key = "scaling_factor", .says = Says::number},
    Statement{.key = "shift_factor", .says = Says::number, .may_be_null = true},
    Statement{.key = "use_quant_conv", .says = Says::flag, .what = "quant_conv"},
    Statement{.key = "use_post_quant_conv", .says = Says::flag, .what = "post_quant_conv"},
};

}  // namespace

constexpr Component kVae = {.name = "vae", .blocks = kBlocks, .config = kConfig};

}  // namespace mflux::models::flux
