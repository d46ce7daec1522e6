// SPDX-License-Identifier: MIT
#include "mflux/models/qwen/tables.h"

namespace mflux::models::qwen {
namespace {

// mflux's order
constexpr std::array<const Component*, 3> kComponents = {&kVae, &kTransformer, &kTextEncoder};
constexpr std::array<const Component*, 3> kEditComponents = {
    &kVae,
    &kTransformer,
    &kEditTextEncoder,
};
constexpr std::array<std::string_view, 2> kCopied = {"tokenizer", "scheduler"};
constexpr std::array<std::string_view, 3> kEditCopied = {"tokenizer", "processor", "scheduler"};

constexpr std::array kAgreements = {
    Agreement{{"text_encoder", "model.embed_tokens", 1}, {"transformer", "txt_in", 1}},
};
constexpr std::array kKnownWidths = {
    KnownWidth{{"transformer", "img_in", 1}, {64}},
    KnownWidth{{"transformer", "proj_out", 0}, {64}},
    KnownWidth{{"vae", "post_quant_conv", 0}, {16}},
    KnownWidth{{"vae", "decoder.conv_out", 0}, {3}},
};

}  // namespace

constexpr Family kFamily = {
    .name = "qwen",
    .variant = "qwen",
    .title = "Qwen-Image",
    .components = kComponents,
    .copied = kCopied,
    .tokenizers = std::span(kCopied).first(1),
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
};

constexpr Family kEditFamily = {
    .name = "qwen",
    .variant = "qwen-edit",
    .title = "Qwen-Image-Edit",
    .components = kEditComponents,
    .copied = kEditCopied,
    .tokenizers = std::span(kEditCopied).first(1),
    .pipeline = "QwenImageEdit",
    .evidence = "visual",
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
};

}  // namespace mflux::models::qwen
