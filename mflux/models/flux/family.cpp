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

constexpr std::array kModels = {
    KnownModel{"dev", "black-forest-labs/FLUX.1-dev", "flux"},
    KnownModel{"schnell", "black-forest-labs/FLUX.1-schnell", "flux"},
    KnownModel{"krea-dev", "black-forest-labs/FLUX.1-Krea-dev", "flux"},
    KnownModel{"dev-krea", "black-forest-labs/FLUX.1-Krea-dev", "flux"},
    KnownModel{"dev-kontext", "black-forest-labs/FLUX.1-Kontext-dev", "flux"},
    KnownModel{"kontext", "black-forest-labs/FLUX.1-Kontext-dev", "flux"},
    KnownModel{"dev-fill", "black-forest-labs/FLUX.1-Fill-dev", "flux"},
    KnownModel{"fill", "black-forest-labs/FLUX.1-Fill-dev", "flux"},
    KnownModel{"dev-depth", "black-forest-labs/FLUX.1-Depth-dev", "flux"},
};
constexpr std::array kReleases = {
    Release{"Fill", "x_embedder.weight", 384},
    Release{"Canny or Depth", "x_embedder.weight", 128},
    Release{"dev", "time_text_embed.guidance_embedder.linear_1.weight"},
    Release{"schnell", "x_embedder.weight"},
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
    .models = kModels,
    .releases = kReleases,
    .lora_family = &kLora,
};

}  // namespace mflux::models::flux
