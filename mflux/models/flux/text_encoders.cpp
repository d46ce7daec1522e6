// SPDX-License-Identifier: MIT
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

// CLIP: h hidden, m mlp, v vocabulary, p positions.
constexpr std::array kClipTop = {
    Layer{
        .name = "embeddings.token_embedding",
        .kind = Kind::embedding,
        .shape = "v h",
        .bias = false},
    Layer{
        .name = "embeddings.position_embedding",
        .kind = Kind::embedding,
        .shape = "p h",
        .bias = false},
    Layer{.name = "final_layer_norm", .kind = Kind::norm, .shape = "h"},
};
constexpr std::array kClipLayer = {
    Layer{.name = "self_attn.q_proj", .shape = "h h"},
    Layer{.name = "self_attn.k_proj", .shape = "h h"},
    Layer{.name = "self_attn.v_proj", .shape = "h h"},
    Layer{.name = "self_attn.out_proj", .shape = "h h"},
    Layer{.name = "layer_norm1", .kind = Kind::norm, .shape = "h"},
    Layer{.name = "layer_norm2", .kind = Kind::norm, .shape = "h"},
    Layer{.name = "mlp.fc1", .shape = "m h"},
    Layer{.name = "mlp.fc2", .shape = "h m"},
};
constexpr std::array kClipConstants = {
    Layer{.name = "embeddings.position_ids", .kind = Kind::constant},
};
// FLUX has no use for CLIP's projection; files of CLIPTextModelWithProjection hold it.
constexpr std::array kClipProjection = {
    Layer{.name = "text_projection", .shape = "* h", .bias = false},
};
constexpr std::array kClipBlocks = {
    Block{.name = "text_model", .layers = kClipTop},
    Block{.name = "text_model.encoder.layers.{}", .layers = kClipLayer},
    Block{
        .name = "text_model",
        .layers = kClipConstants,
        .optional = true,
        .keep = Keep::diffusers_only},
    Block{.name = "", .layers = kClipProjection, .optional = true, .keep = Keep::diffusers_only},
};
// transformers 5 writes the names without it
constexpr std::array kClipSpellings = {Respelling{"text_model.", ""}};
constexpr std::string_view kActivations =
    "quick_gelu gelu gelu_new gelu_pytorch_tanh silu gated-gelu gated-silu";
constexpr std::array kClipConfig = {
    Statement{
        .key = "num_hidden_layers", .says = Says::depth, .what = "text_model.encoder.layers.{}"},
    Statement{
        .key = "hidden_size", .what = "text_model.embeddings.token_embedding", .dimension = 1},
    Statement{.key = "vocab_size", .what = "text_model.embeddings.token_embedding"},
    Statement{.key = "max_position_embeddings", .what = "text_model.embeddings.position_embedding"},
    Statement{.key = "intermediate_size", .what = "text_model.encoder.layers.{}.mlp.fc1"},
    Statement{
        .key = "num_attention_heads",
        .says = Says::divisor,
        .what = "text_model.encoder.layers.{}.self_attn.q_proj"},
    Statement{.key = "hidden_act", .says = Says::word, .what = kActivations},
    Statement{.key = "layer_norm_eps", .says = Says::number},
};
// Of a whole CLIP, or of one with projections: FLUX uses its text model alone.
constexpr std::array<std::string_view, 3> kClipIgnored = {
    "logit_scale", "visual_projection.weight", "vision_model.*"};

// T5: d model, i all heads, f feed-forward, v vocabulary.
constexpr std::array kT5Top = {
    Layer{.name = "shared", .kind = Kind::embedding, .shape = "v d", .bias = false},
    Layer{
        .name = "encoder.final_layer_norm",
        .kind = Kind::norm,
        .shape = "d",
        .bias = false,
        .mflux = "final_layer_norm"},
};
constexpr std::array kT5Block = {
    Layer{
        .name = "layer.0.SelfAttention.q",
        .shape = "i d",
        .bias = false,
        .mflux = "attention.SelfAttention.q"},
    Layer{
        .name = "layer.0.SelfAttention.k",
        .shape = "i d",
        .bias = false,
        .mflux = "attention.SelfAttention.k"},
    Layer{
        .name = "layer.0.SelfAttention.v",
        .shape = "i d",
        .bias = false,
        .mflux = "attention.SelfAttention.v"},
    Layer{
        .name = "layer.0.SelfAttention.o",
        .shape = "d i",
        .bias = false,
        .mflux = "attention.SelfAttention.o"},
    Layer{
        .name = "layer.0.layer_norm",
        .kind = Kind::norm,
        .shape = "d",
        .bias = false,
        .mflux = "attention.layer_norm"},
    Layer{
        .name = "layer.1.DenseReluDense.wi_0",
        .shape = "f d",
        .bias = false,
        .mflux = "ff.DenseReluDense.wi_0"},
    Layer{
        .name = "layer.1.DenseReluDense.wi_1",
        .shape = "f d",
        .bias = false,
        .mflux = "ff.DenseReluDense.wi_1"},
    Layer{
        .name = "layer.1.DenseReluDense.wo",
        .shape = "d f",
        .bias = false,
        .mflux = "ff.DenseReluDense.wo"},
    Layer{
        .name = "layer.1.layer_norm",
        .kind = Kind::norm,
        .shape = "d",
        .bias = false,
        .mflux = "ff.layer_norm"},
};
constexpr std::array kT5Bias = {
    Layer{
        .name = "SelfAttention.relative_attention_bias",
        .kind = Kind::embedding,
        .shape = "* *",
        .bias = false},
};
constexpr std::array kT5Twin = {
    Layer{.name = "embed_tokens", .kind = Kind::embedding, .shape = "v d", .bias = false},
};
constexpr std::array kT5Blocks = {
    Block{.name = "", .layers = kT5Top},
    Block{.name = "encoder.block.{}", .layers = kT5Block, .mflux = "t5_blocks.{}"},
    // the first block's bias serves all; mflux keeps a copy in each
    Block{
        .name = "encoder.block.0.layer.0",
        .layers = kT5Bias,
        .mflux = "t5_blocks.{}.attention",
        .copied_into = "encoder.block.{}"},
    Block{.name = "encoder", .layers = kT5Twin, .optional = true, .keep = Keep::diffusers_only},
};
constexpr std::array kT5Twins = {Twin{"encoder.embed_tokens", "shared"}};
constexpr std::string_view kT5Relative =
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias";
constexpr std::array kT5Config = {
    Statement{.key = "num_layers", .says = Says::depth, .what = "encoder.block.{}"},
    Statement{.key = "d_model", .what = "shared", .dimension = 1},
    Statement{.key = "vocab_size", .what = "shared"},
    Statement{.key = "d_ff", .what = "encoder.block.{}.layer.1.DenseReluDense.wi_0"},
    Statement{.key = "num_heads", .what = kT5Relative, .dimension = 1},
    Statement{
        .key = "d_kv",
        .what = "encoder.block.{}.layer.0.SelfAttention.q",
        .over = kT5Relative,
        .over_dimension = 1},
    Statement{.key = "relative_attention_num_buckets", .what = kT5Relative},
    Statement{.key = "relative_attention_max_distance", .says = Says::count},
    Statement{.key = "feed_forward_proj", .says = Says::word, .what = kActivations},
    Statement{.key = "layer_norm_epsilon", .says = Says::number},
};
// The half that writes text.
constexpr std::array<std::string_view, 2> kT5Ignored = {"decoder.*", "lm_head.weight"};

// The published models.
constexpr std::array kClipWidths = {
    PublishedWidth{'h', 768},
    PublishedWidth{'m', 3072, 'h'},
    PublishedWidth{'v', 49408},
    PublishedWidth{'p', 77}};
constexpr std::array kClipDepths = {PublishedDepth{"text_model.encoder.layers.{}", 12}};
constexpr std::array kT5Widths = {
    PublishedWidth{'d', 4096},
    PublishedWidth{'i', 4096},
    PublishedWidth{'f', 10240},
    PublishedWidth{'v', 32128}};
constexpr std::array kT5Depths = {PublishedDepth{"encoder.block.{}", 24}};

}  // namespace

constexpr Component kClip = {
    .name = "text_encoder",
    .blocks = kClipBlocks,
    .respellings = kClipSpellings,
    .ignored = kClipIgnored,
    .config = kClipConfig,
    .published_widths = kClipWidths,
    .published_depths = kClipDepths,
};

constexpr Component kT5 = {
    .name = "text_encoder_2",
    .blocks = kT5Blocks,
    .twins = kT5Twins,
    .ignored = kT5Ignored,
    .config = kT5Config,
    .published_widths = kT5Widths,
    .published_depths = kT5Depths,
};

}  // namespace mflux::models::flux
