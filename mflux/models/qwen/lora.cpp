// SPDX-License-Identifier: MIT
// LoRAs for Qwen-Image, edit or not: how their files name its components, and by what they are
// known.
#include "mflux/models/qwen/tables.h"

namespace mflux::models::qwen {
namespace {

constexpr std::array<std::string_view, 1> kMetadata = {"qwenimage"};
constexpr std::array<std::string_view, 5> kOwnNames = {
    "img_mod_1", "txt_mod_1", "txt_norm", "img_mlp_net", "txt_mlp_net"};
// BFL's names of FLUX.1 have these two.
constexpr std::array<std::string_view, 2> kWeakNames = {"img_in", "txt_in"};

constexpr std::array kComponents = {
    lora::ComponentPrefix{"text_encoders.qwen25_7b.transformer.", "text_encoder"},
    lora::ComponentPrefix{"text_encoders.qwen25_7b.", "text_encoder"},
};

// diffusers' pipeline loads no LoRAs for Qwen2.5-VL.
constexpr std::array kWritten = {
    lora::WrittenPrefixes{"transformer", "transformer.", "lora_unet_", "diffusion_model."},
    lora::WrittenPrefixes{"text_encoder", "", "lora_te1_", "text_encoders.qwen25_7b.transformer."},
};

}  // namespace

constexpr lora::Family kLora = {
    .name = "qwen",
    .title = "Qwen-Image",
    .metadata = kMetadata,
    .own_names = kOwnNames,
    .weak_names = kWeakNames,
    .prefixes = kComponents,
    .written = kWritten,
};

}  // namespace mflux::models::qwen
