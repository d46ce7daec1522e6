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
constexpr std::array kClipDepths = {Depth{"num_hidden_layers", "text_model.encoder.layers.{}"}};

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
constexpr std::array kT5Depths = {Depth{"num_layers", "encoder.block.{}"}};

}  // namespace

constexpr Component kClip = {
    .name = "text_encoder",
    .blocks = kClipBlocks,
    .respellings = kClipSpellings,
    .depths = kClipDepths,
};

constexpr Component kT5 = {
    .name = "text_encoder_2",
    .blocks = kT5Blocks,
    .twins = kT5Twins,
    .depths = kT5Depths,
};

}  // namespace mflux::models::flux
