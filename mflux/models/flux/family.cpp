// SPDX-License-Identifier: MIT
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

// mflux's order
constexpr std::array<const Component*, 4> kComponents = {&kVae, &kTransformer, &kT5, &kClip};
constexpr std::array<std::string_view, 3> kCopied = {"tokenizer", "tokenizer_2", "scheduler"};
constexpr std::array kTokenizers = {
    PromptTokenizer{"tokenizer", tokenizer::Kind::clip, "CLIP's"},
    PromptTokenizer{"tokenizer_2", tokenizer::Kind::t5, "T5's"},
};

constexpr std::array kAgreements = {
    Agreement{{"text_encoder_2", "shared", 1}, {"transformer", "context_embedder", 1}},
    Agreement{
        {"text_encoder", "text_model.embeddings.token_embedding", 1},
        {"transformer", "time_text_embed.text_embedder.linear_1", 1}},
};
constexpr std::array kKnownWidths = {
    KnownWidth{{"transformer", "x_embedder", 1}, {64, 128, 384}},
    KnownWidth{{"transformer", "proj_out", 0}, {64}},
    KnownWidth{{"vae", "encoder.conv_out", 0}, {32}},
    KnownWidth{{"vae", "decoder.conv_in", 1}, {16}},
    KnownWidth{{"vae", "decoder.conv_out", 0}, {3}},
};

}  // namespace

constexpr Family kFamily = {
    .name = "flux",
    .variant = "flux",
    .title = "FLUX.1",
    .components = kComponents,
    .copied = kCopied,
    .tokenizers = kTokenizers,
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
};

}  // namespace mflux::models::flux
