// SPDX-License-Identifier: MIT
#include "mflux/models/qwen/tables.h"

namespace mflux::models::qwen {
namespace {

// h hidden, m mlp, d head, c channels in, o channels out, t text, e time embedding.
constexpr std::array kTop = {
    Layer{.name = "img_in", .shape = "h c"},
    Layer{.name = "txt_norm", .kind = Kind::norm, .shape = "t", .bias = false},
    Layer{.name = "txt_in", .shape = "h t"},
    Layer{.name = "time_text_embed.timestep_embedder.linear_1", .shape = "h e"},
    Layer{.name = "time_text_embed.timestep_embedder.linear_2", .shape = "h h"},
    Layer{.name = "norm_out.linear", .shape = "2h h"},
    Layer{.name = "proj_out", .shape = "o h"},
};
constexpr std::array kBlock = {
    Layer{.name = "img_mod.1", .shape = "6h h", .mflux = "img_mod_linear"},
    Layer{.name = "txt_mod.1", .shape = "6h h", .mflux = "txt_mod_linear"},
    Layer{.name = "attn.norm_q", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_k", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_added_q", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_added_k", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.to_q", .shape = "h h"},
    Layer{.name = "attn.to_k", .shape = "h h"},
    Layer{.name = "attn.to_v", .shape = "h h"},
    Layer{.name = "attn.to_out.0", .shape = "h h", .mflux = "attn.attn_to_out.0"},
    Layer{.name = "attn.add_q_proj", .shape = "h h"},
    Layer{.name = "attn.add_k_proj", .shape = "h h"},
    Layer{.name = "attn.add_v_proj", .shape = "h h"},
    Layer{.name = "attn.to_add_out", .shape = "h h"},
    Layer{.name = "img_mlp.net.0.proj", .shape = "m h", .mflux = "img_ff.mlp_in"},
    Layer{.name = "img_mlp.net.2", .shape = "h m", .mflux = "img_ff.mlp_out"},
    Layer{.name = "txt_mlp.net.0.proj", .shape = "m h", .mflux = "txt_ff.mlp_in"},
    Layer{.name = "txt_mlp.net.2", .shape = "h m", .mflux = "txt_ff.mlp_out"},
};
// zero_cond_t of Edit-2511's config.json, as ComfyUI's files tell it.
constexpr std::array kMarker = {
    Layer{.name = "__index_timestep_zero__", .kind = Kind::constant},
};
constexpr std::array kBlocks = {
    Block{.name = "", .layers = kTop},
    Block{.name = "transformer_blocks.{}", .layers = kBlock},
    Block{.name = "", .layers = kMarker, .optional = true, .keep = Keep::original_only},
};

constexpr std::array kAliases = {
    Composite{
        "transformer_blocks.{}.attn.to_qkv",
        {"transformer_blocks.{}.attn.to_q",
         "transformer_blocks.{}.attn.to_k",
         "transformer_blocks.{}.attn.to_v"}},
    Composite{
        "transformer_blocks.{}.attn.to_added_qkv",
        {"transformer_blocks.{}.attn.add_q_proj",
         "transformer_blocks.{}.attn.add_k_proj",
         "transformer_blocks.{}.attn.add_v_proj"}},
    Composite{"transformer_blocks.{}.attn.to_out", {"transformer_blocks.{}.attn.to_out.0"}},
};

constexpr std::array kPrefixes = {
    Respelling{"", "model.diffusion_model."},
    Respelling{"", "diffusion_model."},
};
// What ComfyUI's all-in-one files hold besides.
constexpr std::array<std::string_view, 2> kIgnored = {"text_encoders.*", "vae.*"};
constexpr std::array kConfig = {
    Statement{.key = "num_layers", .says = Says::depth, .what = "transformer_blocks.{}"},
    Statement{.key = "attention_head_dim", .what = "transformer_blocks.{}.attn.norm_q"},
    Statement{
        .key = "num_attention_heads",
        .what = "transformer_blocks.{}.attn.to_q",
        .over = "transformer_blocks.{}.attn.norm_q"},
    Statement{
        .key = "axes_dims_rope",
        .says = Says::even_parts,
        .what = "transformer_blocks.{}.attn.norm_q"},
    Statement{.key = "in_channels", .what = "img_in", .dimension = 1},
    Statement{.key = "out_channels", .what = "proj_out", .per = 4, .may_be_null = true},
    Statement{.key = "patch_size", .says = Says::constant, .per = 2},
    Statement{.key = "joint_attention_dim", .what = "txt_in", .dimension = 1},
    Statement{.key = "guidance_embeds", .says = Says::flag},  // no Qwen-Image has an embedder
    Statement{.key = "zero_cond_t", .says = Says::boolean},
};
// Errors of the modulation add up over the steps: mflux keeps it at 8 bits in 4-bit models.
constexpr std::array kExceptions = {BitsException{"transformer_blocks.{}.img_mod.1", 4, 8}};

// The published model.
constexpr std::array kWidths = {
    PublishedWidth{'h', 3072},
    PublishedWidth{'m', 12288, 'h'},
    PublishedWidth{'d', 128},
    PublishedWidth{'c', 64},
    PublishedWidth{'o', 64},
    PublishedWidth{'t', 3584},
    PublishedWidth{'e', 256}};
constexpr std::array kDepths = {PublishedDepth{"transformer_blocks.{}", 60}};

}  // namespace

constexpr Component kTransformer = {
    .name = "transformer",
    .class_name = "QwenImageTransformer2DModel",
    .blocks = kBlocks,
    .single_file = true,
    .aliases = kAliases,
    .respellings = kPrefixes,
    .ignored = kIgnored,
    .config = kConfig,
    .mflux_bf16 = false,
    .exceptions = kExceptions,
    .published_widths = kWidths,
    .published_depths = kDepths,
};

}  // namespace mflux::models::qwen
