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
    Block{.name = "encoder.down_blocks.{}.downsamplers.0", .layers = kResample, .optional = true},
    Block{.name = "encoder.mid_block.resnets.{}", .layers = kResnet},
    Block{.name = "encoder.mid_block.attentions.0", .layers = kAttention},
    Block{.name = "decoder.up_blocks.{}.resnets.{}", .layers = kResnet},
    Block{.name = "decoder.up_blocks.{}.upsamplers.0", .layers = kResample, .optional = true},
    Block{.name = "decoder.mid_block.resnets.{}", .layers = kResnet},
    Block{.name = "decoder.mid_block.attentions.0", .layers = kAttention},
    Block{.name = "", .layers = kQuantConv, .optional = true},
};

}  // namespace

constexpr Component kVae = {.name = "vae", .blocks = kBlocks};

}  // namespace mflux::models::flux
