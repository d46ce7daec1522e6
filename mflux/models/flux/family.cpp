// SPDX-License-Identifier: MIT
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

// mflux's order
constexpr std::array<const Component*, 4> kComponents = {&kVae, &kTransformer, &kT5, &kClip};
constexpr std::array<std::string_view, 3> kCopied = {"tokenizer", "tokenizer_2", "scheduler"};

}  // namespace

constexpr Family kFamily = {
    .name = "flux",
    .variant = "flux",
    .title = "FLUX.1",
    .components = kComponents,
    .copied = kCopied,
};

}  // namespace mflux::models::flux
