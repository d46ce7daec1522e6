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
constexpr std::array kTokenizers = {
    PromptTokenizer{"tokenizer", tokenizer::Kind::qwen2, "Qwen2's"},
};
constexpr std::array<std::string_view, 6> kSchedule = {
    "base_image_seq_len",
    "base_shift",
    "max_image_seq_len",
    "max_shift",
    "shift",
    "shift_terminal",
};

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
    .tokenizers = kTokenizers,
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
    .schedule = kSchedule,
};

constexpr Family kEditFamily = {
    .name = "qwen",
    .variant = "qwen-edit",
    .title = "Qwen-Image-Edit",
    .components = kEditComponents,
    .copied = kEditCopied,
    .tokenizers = kTokenizers,
    .pipeline = "QwenImageEdit",
    .evidence = "visual",
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
    .schedule = kSchedule,
};

}  // namespace mflux::models::qwen
