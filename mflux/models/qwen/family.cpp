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

constexpr std::array kModels = {
    KnownModel{"qwen-image", "Qwen/Qwen-Image-2512", "qwen"},
    KnownModel{"qwen", "Qwen/Qwen-Image-2512", "qwen"},
    KnownModel{"qwen-image-2512", "Qwen/Qwen-Image-2512", "qwen"},
    KnownModel{"qwen-2512", "Qwen/Qwen-Image-2512", "qwen"},
};
constexpr std::array kEditModels = {
    KnownModel{"qwen-image-edit", "Qwen/Qwen-Image-Edit-2509", "qwen-edit"},
    KnownModel{"qwen-edit", "Qwen/Qwen-Image-Edit-2509", "qwen-edit"},
    KnownModel{"qwen-edit-plus", "Qwen/Qwen-Image-Edit-2509", "qwen-edit"},
    KnownModel{"qwen-edit-2509", "Qwen/Qwen-Image-Edit-2509", "qwen-edit"},
    KnownModel{"qwen-image-edit-2511", "Qwen/Qwen-Image-Edit-2511", "qwen-edit"},
    KnownModel{"qwen-edit-2511", "Qwen/Qwen-Image-Edit-2511", "qwen-edit"},
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
    .models = kModels,
    .lora_family = &kLora,
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
    .evidence_key = "zero_cond_t",
    .agreements = kAgreements,
    .known_widths = kKnownWidths,
    .schedule = kSchedule,
    .models = kEditModels,
    .lora_family = &kLora,
};

}  // namespace mflux::models::qwen
