// SPDX-License-Identifier: MIT
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

// h hidden, m mlp, d head, c channels in, o channels out, t text, e time embedding, p pooled text.
constexpr std::array kTop = {
    Layer{.name = "x_embedder", .shape = "h c"},
    Layer{.name = "context_embedder", .shape = "h t"},
    Layer{.name = "time_text_embed.timestep_embedder.linear_1", .shape = "h e"},
    Layer{.name = "time_text_embed.timestep_embedder.linear_2", .shape = "h h"},
    Layer{.name = "time_text_embed.text_embedder.linear_1", .shape = "h p"},
    Layer{.name = "time_text_embed.text_embedder.linear_2", .shape = "h h"},
    Layer{.name = "norm_out.linear", .shape = "2h h"},
    Layer{.name = "proj_out", .shape = "o h"},
};

constexpr std::array kGuidance = {
    Layer{.name = "linear_1", .shape = "h e"},
    Layer{.name = "linear_2", .shape = "h h"},
};

constexpr std::array kDouble = {
    Layer{.name = "norm1.linear", .shape = "6h h"},
    Layer{.name = "norm1_context.linear", .shape = "6h h"},
    Layer{.name = "attn.norm_q", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_k", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_added_q", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_added_k", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.to_q", .shape = "h h"},
    Layer{.name = "attn.to_k", .shape = "h h"},
    Layer{.name = "attn.to_v", .shape = "h h"},
    Layer{.name = "attn.to_out.0", .shape = "h h"},
    Layer{.name = "attn.add_q_proj", .shape = "h h"},
    Layer{.name = "attn.add_k_proj", .shape = "h h"},
    Layer{.name = "attn.add_v_proj", .shape = "h h"},
    Layer{.name = "attn.to_add_out", .shape = "h h"},
    Layer{.name = "ff.net.0.proj", .shape = "m h", .mflux = "ff.linear1"},
    Layer{.name = "ff.net.2", .shape = "h m", .mflux = "ff.linear2"},
    Layer{.name = "ff_context.net.0.proj", .shape = "m h", .mflux = "ff_context.linear1"},
    Layer{.name = "ff_context.net.2", .shape = "h m", .mflux = "ff_context.linear2"},
};

constexpr std::array kSingle = {
    Layer{.name = "norm.linear", .shape = "3h h"},
    Layer{.name = "attn.norm_q", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.norm_k", .kind = Kind::norm, .shape = "d", .bias = false},
    Layer{.name = "attn.to_q", .shape = "h h"},
    Layer{.name = "attn.to_k", .shape = "h h"},
    Layer{.name = "attn.to_v", .shape = "h h"},
    Layer{.name = "proj_mlp", .shape = "m h"},
    Layer{.name = "proj_out", .shape = "h h+m"},
};

constexpr std::array kBlocks = {
    Block{.name = "", .layers = kTop},
    // schnell has none
    Block{.name = "time_text_embed.guidance_embedder", .layers = kGuidance, .optional = true},
    Block{.name = "transformer_blocks.{}", .layers = kDouble},
    Block{.name = "single_transformer_blocks.{}", .layers = kSingle},
};

// Black Forest Labs' file.
constexpr std::array kOriginal = {
    Composite{"img_in", {"x_embedder"}},
    Composite{"txt_in", {"context_embedder"}},
    Composite{"time_in.in_layer", {"time_text_embed.timestep_embedder.linear_1"}},
    Composite{"time_in.out_layer", {"time_text_embed.timestep_embedder.linear_2"}},
    Composite{"vector_in.in_layer", {"time_text_embed.text_embedder.linear_1"}},
    Composite{"vector_in.out_layer", {"time_text_embed.text_embedder.linear_2"}},
    Composite{"guidance_in.in_layer", {"time_text_embed.guidance_embedder.linear_1"}},
    Composite{"guidance_in.out_layer", {"time_text_embed.guidance_embedder.linear_2"}},
    Composite{"double_blocks.{}.img_mod.lin", {"transformer_blocks.{}.norm1.linear"}},
    Composite{"double_blocks.{}.txt_mod.lin", {"transformer_blocks.{}.norm1_context.linear"}},
    Composite{
        "double_blocks.{}.img_attn.qkv",
        {"transformer_blocks.{}.attn.to_q",
         "transformer_blocks.{}.attn.to_k",
         "transformer_blocks.{}.attn.to_v"}},
    Composite{"double_blocks.{}.img_attn.proj", {"transformer_blocks.{}.attn.to_out.0"}},
    Composite{
        "double_blocks.{}.txt_attn.qkv",
        {"transformer_blocks.{}.attn.add_q_proj",
         "transformer_blocks.{}.attn.add_k_proj",
         "transformer_blocks.{}.attn.add_v_proj"}},
    Composite{"double_blocks.{}.txt_attn.proj", {"transformer_blocks.{}.attn.to_add_out"}},
    Composite{"double_blocks.{}.img_mlp.0", {"transformer_blocks.{}.ff.net.0.proj"}},
    Composite{"double_blocks.{}.img_mlp.2", {"transformer_blocks.{}.ff.net.2"}},
    Composite{"double_blocks.{}.txt_mlp.0", {"transformer_blocks.{}.ff_context.net.0.proj"}},
    Composite{"double_blocks.{}.txt_mlp.2", {"transformer_blocks.{}.ff_context.net.2"}},
    Composite{
        .name = "double_blocks.{}.img_attn.norm.query_norm",
        .parts = {"transformer_blocks.{}.attn.norm_q"},
        .scale = true},
    Composite{
        .name = "double_blocks.{}.img_attn.norm.key_norm",
        .parts = {"transformer_blocks.{}.attn.norm_k"},
        .scale = true},
    Composite{
        .name = "double_blocks.{}.txt_attn.norm.query_norm",
        .parts = {"transformer_blocks.{}.attn.norm_added_q"},
        .scale = true},
    Composite{
        .name = "double_blocks.{}.txt_attn.norm.key_norm",
        .parts = {"transformer_blocks.{}.attn.norm_added_k"},
        .scale = true},
    Composite{"single_blocks.{}.modulation.lin", {"single_transformer_blocks.{}.norm.linear"}},
    Composite{
        "single_blocks.{}.linear1",
        {"single_transformer_blocks.{}.attn.to_q",
         "single_transformer_blocks.{}.attn.to_k",
         "single_transformer_blocks.{}.attn.to_v",
         "single_transformer_blocks.{}.proj_mlp"},
        Rows::square_first},
    Composite{"single_blocks.{}.linear2", {"single_transformer_blocks.{}.proj_out"}},
    Composite{
        .name = "single_blocks.{}.norm.query_norm",
        .parts = {"single_transformer_blocks.{}.attn.norm_q"},
        .scale = true},
    Composite{
        .name = "single_blocks.{}.norm.key_norm",
        .parts = {"single_transformer_blocks.{}.attn.norm_k"},
        .scale = true},
    // BFL's rows are shift, scale; diffusers' are scale, shift
    Composite{"final_layer.adaLN_modulation.1", {"norm_out.linear"}, Rows::swapped},
    Composite{"final_layer.linear", {"proj_out"}},
};

// diffusers' fused attention, XLabs' processors (1 image, 2 text), converters that drop an index.
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
    Composite{
        "single_transformer_blocks.{}.attn.to_qkv",
        {"single_transformer_blocks.{}.attn.to_q",
         "single_transformer_blocks.{}.attn.to_k",
         "single_transformer_blocks.{}.attn.to_v"}},
    Composite{
        "single_blocks.{}.linear1_qkv",
        {"single_transformer_blocks.{}.attn.to_q",
         "single_transformer_blocks.{}.attn.to_k",
         "single_transformer_blocks.{}.attn.to_v"}},
    Composite{
        "double_blocks.{}.processor.qkv_lora1",
        {"transformer_blocks.{}.attn.to_q",
         "transformer_blocks.{}.attn.to_k",
         "transformer_blocks.{}.attn.to_v"}},
    Composite{"double_blocks.{}.processor.proj_lora1", {"transformer_blocks.{}.attn.to_out.0"}},
    Composite{
        "double_blocks.{}.processor.qkv_lora2",
        {"transformer_blocks.{}.attn.add_q_proj",
         "transformer_blocks.{}.attn.add_k_proj",
         "transformer_blocks.{}.attn.add_v_proj"}},
    Composite{"double_blocks.{}.processor.proj_lora2", {"transformer_blocks.{}.attn.to_add_out"}},
    Composite{
        "single_blocks.{}.processor.qkv_lora",
        {"single_transformer_blocks.{}.attn.to_q",
         "single_transformer_blocks.{}.attn.to_k",
         "single_transformer_blocks.{}.attn.to_v"}},
    Composite{"single_blocks.{}.processor.proj_lora", {"single_transformer_blocks.{}.proj_out"}},
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
    Statement{
        .key = "num_single_layers", .says = Says::depth, .what = "single_transformer_blocks.{}"},
    Statement{.key = "attention_head_dim", .what = "transformer_blocks.{}.attn.norm_q"},
    Statement{
        .key = "num_attention_heads",
        .what = "transformer_blocks.{}.attn.to_q",
        .over = "transformer_blocks.{}.attn.norm_q"},
    Statement{
        .key = "axes_dims_rope",
        .says = Says::even_parts,
        .what = "transformer_blocks.{}.attn.norm_q"},
    Statement{.key = "in_channels", .what = "x_embedder", .dimension = 1},
    Statement{.key = "out_channels", .what = "proj_out", .may_be_null = true},
    Statement{.key = "patch_size", .says = Says::constant, .per = 1},
    Statement{.key = "joint_attention_dim", .what = "context_embedder", .dimension = 1},
    Statement{
        .key = "pooled_projection_dim",
        .what = "time_text_embed.text_embedder.linear_1",
        .dimension = 1},
    Statement{
        .key = "guidance_embeds",
        .says = Says::flag,
        .what = "time_text_embed.guidance_embedder.linear_1"},
};

// The published model.
constexpr std::array kWidths = {
    PublishedWidth{'h', 3072},
    PublishedWidth{'m', 12288, 'h'},
    PublishedWidth{'d', 128},
    PublishedWidth{'c', 64},
    PublishedWidth{'o', 64},
    PublishedWidth{'t', 4096},
    PublishedWidth{'e', 256},
    PublishedWidth{'p', 768}};
constexpr std::array kDepths = {
    PublishedDepth{"transformer_blocks.{}", 19},
    PublishedDepth{"single_transformer_blocks.{}", 38}};

}  // namespace

constexpr Component kTransformer = {
    .name = "transformer",
    .class_name = "FluxTransformer2DModel",
    .blocks = kBlocks,
    .single_file = true,
    .original = kOriginal,
    .aliases = kAliases,
    .respellings = kPrefixes,
    .ignored = kIgnored,
    .config = kConfig,
    .published_widths = kWidths,
    .published_depths = kDepths,
};

}  // namespace mflux::models::flux
