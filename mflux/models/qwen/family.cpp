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

}  // namespace

constexpr Family kFamily = {
    .name = "qwen",
    .variant = "qwen",
    .title = "Qwen-Image",
    .components = kComponents,
    .copied = kCopied,
};

constexpr Family kEditFamily = {
    .name = "qwen",
    .variant = "qwen-edit",
    .title = "Qwen-Image-Edit",
    .components = kEditComponents,
    .copied = kEditCopied,
    .pipeline = "QwenImageEdit",
    .evidence = "visual",
};

}  // namespace mflux::models::qwen
