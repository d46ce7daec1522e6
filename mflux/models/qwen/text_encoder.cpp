// SPDX-License-Identifier: MIT
// Qwen2.5-VL.
#include "mflux/models/qwen/tables.h"

namespace mflux::models::qwen {
namespace {

// h hidden, q all query heads, k all key heads, f feed-forward, v vocabulary.
constexpr std::array kTop = {
    Layer{.name = "embed_tokens", .kind = Kind::embedding, .shape = "v h", .bias = false},
    Layer{.name = "norm", .kind = Kind::norm, .shape = "h", .bias = false},
};
constexpr std::array kLayer = {
    Layer{.name = "input_layernorm", .kind = Kind::norm, .shape = "h", .bias = false},
    Layer{.name = "post_attention_layernorm", .kind = Kind::norm, .shape = "h", .bias = false},
    Layer{.name = "self_attn.q_proj", .shape = "q h"},
    Layer{.name = "self_attn.k_proj", .shape = "k h"},
    Layer{.name = "self_attn.v_proj", .shape = "k h"},
    Layer{.name = "self_attn.o_proj", .shape = "h q", .bias = false},
    Layer{.name = "mlp.gate_proj", .shape = "f h", .bias = false},
    Layer{.name = "mlp.up_proj", .shape = "f h", .bias = false},
    Layer{.name = "mlp.down_proj", .shape = "h f", .bias = false},
};
constexpr std::array kHead = {
    Layer{.name = "lm_head", .shape = "v h", .bias = false},
};
// w width, g feed-forward, u merged patches.
constexpr std::array kVisionTop = {
    Layer{.name = "patch_embed.proj", .kind = Kind::conv3d, .shape = "w * * * *", .bias = false},
    Layer{.name = "merger.ln_q", .kind = Kind::norm, .shape = "w", .bias = false},
    Layer{.name = "merger.mlp.0", .shape = "u u", .mflux = "merger.mlp_0"},
    Layer{.name = "merger.mlp.2", .shape = "h u", .mflux = "merger.mlp_1"},
};
constexpr std::array kVisionBlock = {
    Layer{.name = "norm1", .kind = Kind::norm, .shape = "w", .bias = false},
    Layer{.name = "norm2", .kind = Kind::norm, .shape = "w", .bias = false},
    Layer{.name = "attn.qkv", .shape = "3w w"},
    Layer{.name = "attn.proj", .shape = "w w"},
    Layer{.name = "mlp.gate_proj", .shape = "g w"},
    Layer{.name = "mlp.up_proj", .shape = "g w"},
    Layer{.name = "mlp.down_proj", .shape = "w g"},
};

constexpr std::array<Block, 5> blocks(bool edit) {
  const Keep keep = edit ? Keep::always : Keep::diffusers_only;
  return {{
      {.name = "model", .layers = kTop, .mflux = "encoder"},
      {.name = "model.layers.{}", .layers = kLayer, .mflux = "encoder.layers.{}"},
      {.name = "visual",
       .layers = kVisionTop,
       .optional = !edit,
       .keep = keep,
       .mflux = "encoder.visual"},
      {.name = "visual.blocks.{}",
       .layers = kVisionBlock,
       .optional = !edit,
       .keep = keep,
       .mflux = "encoder.visual.blocks.{}"},
      {.name = "", .layers = kHead, .optional = true, .keep = Keep::diffusers_only},
  }};
}
constexpr std::array kBlocks = blocks(false);
constexpr std::array kEditBlocks = blocks(true);

// The hub's names, those of transformers 4.52 and later in memory, and of its parts.
constexpr std::array kSpellings = {
    Respelling{"model.", "model.language_model."},
    Respelling{"model.", "language_model.model."},
    Respelling{"model.", "language_model."},
    Respelling{"visual.", "model.visual."},
    Respelling{"model.", ""},
};
// Computed: nobody needs them to load, and what is written is computed anew.
constexpr std::array<std::string_view, 4> kIgnored = {
    "encoder.rotary_emb.inv_freq",
    "encoder.layers.{}.self_attn.rotary_emb.inv_freq",
    "encoder.visual.rotary_pos_emb.inv_freq",
    "model.layers.{}.self_attn.rotary_emb.inv_freq",
};
constexpr std::array kFrequencies = {
    Frequencies{
        .name = "encoder.layers.{}.self_attn.rotary_emb.inv_freq",
        .block = "model.layers.{}",
        .base = 1'000'000},
    Frequencies{.name = "encoder.rotary_emb.inv_freq", .block = "model", .base = 1'000'000},
    Frequencies{
        .name = "encoder.visual.rotary_pos_emb.inv_freq",
        .block = "visual",
        .section = "vision_config",
        .divisor = 2},  // half for rows, half for columns of the picture
};
constexpr std::string_view kQuery = "model.layers.{}.self_attn.q_proj";
constexpr std::string_view kPatch = "visual.patch_embed.proj";
constexpr Statement sections(std::string_view key) {  // of half a head's width
  return {.key = key, .says = Says::parts, .what = kQuery, .per = 2, .by = "num_attention_heads"};
}
constexpr std::array kConfig = {
    Statement{.key = "num_hidden_layers", .says = Says::depth, .what = "model.layers.{}"},
    Statement{.key = "hidden_size", .what = "model.embed_tokens", .dimension = 1},
    Statement{.key = "vocab_size", .what = "model.embed_tokens"},
    Statement{.key = "intermediate_size", .what = "model.layers.{}.mlp.gate_proj"},
    Statement{.key = "num_attention_heads", .says = Says::divisor, .what = kQuery},
    Statement{.key = "head_dim", .what = kQuery, .by = "num_attention_heads", .may_be_null = true},
    Statement{
        .key = "num_key_value_heads",
        .what = "model.layers.{}.self_attn.k_proj",
        .over = kQuery,
        .times = "num_attention_heads"},
    sections("rope_scaling/mrope_section"),
    sections("rope_parameters/mrope_section"),
    Statement{.key = "rope_theta", .says = Says::number},
    Statement{.key = "rope_parameters/rope_theta", .says = Says::number},
    Statement{.key = "rms_norm_eps", .says = Says::number},
    Statement{.key = "vision_config/depth", .says = Says::depth, .what = "visual.blocks.{}"},
    Statement{.key = "vision_config/hidden_size", .what = kPatch},
    Statement{.key = "vision_config/intermediate_size", .what = "visual.blocks.{}.mlp.gate_proj"},
    Statement{.key = "vision_config/out_hidden_size", .what = "visual.merger.mlp.2"},
    Statement{.key = "vision_config/num_heads", .says = Says::divisor, .what = kPatch},
    Statement{.key = "vision_config/in_channels", .what = kPatch, .dimension = 1},
    Statement{.key = "vision_config/in_chans", .what = kPatch, .dimension = 1},
    Statement{.key = "vision_config/temporal_patch_size", .what = kPatch, .dimension = 2},
    Statement{.key = "vision_config/patch_size", .what = kPatch, .dimension = 3},
    Statement{
        .key = "vision_config/spatial_merge_size",
        .says = Says::square,
        .what = "visual.merger.mlp.0",
        .over = kPatch},
    Statement{.key = "vision_config/window_size", .says = Says::count},
    Statement{.key = "vision_config/fullatt_block_indexes", .says = Says::indices},
};

// The published model.
constexpr std::array kWidths = {
    PublishedWidth{'h', 3584},
    PublishedWidth{'q', 3584},
    PublishedWidth{'k', 512},
    PublishedWidth{'f', 18944},
    PublishedWidth{'v', 152064},
    PublishedWidth{'w', 1280},
    PublishedWidth{'g', 3420},
    PublishedWidth{'u', 5120}};
constexpr std::array kDepths = {
    PublishedDepth{"model.layers.{}", 28}, PublishedDepth{"visual.blocks.{}", 32}};

}  // namespace

constexpr Component kTextEncoder = {
    .name = "text_encoder",
    .blocks = kBlocks,
    .respellings = kSpellings,
    .ignored = kIgnored,
    .config = kConfig,
    .frequencies = std::span(kFrequencies).first(2),  // without the vision tower
    .quantized = false,
    .published_widths = kWidths,
    .published_depths = kDepths,
};
constexpr Component kEditTextEncoder = {
    .name = "text_encoder",
    .blocks = kEditBlocks,
    .respellings = kSpellings,
    .ignored = kIgnored,
    .config = kConfig,
    .frequencies = kFrequencies,
    .quantized = false,
    .published_widths = kWidths,
    .published_depths = kDepths,
};

}  // namespace mflux::models::qwen
