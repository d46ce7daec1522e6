// SPDX-License-Identifier: MIT
// LoRAs for FLUX.1: how their files name its components, and by what they are known.
#include "mflux/models/flux/tables.h"

namespace mflux::models::flux {
namespace {

constexpr std::array<std::string_view, 1> kMetadata = {"flux1"};

constexpr std::array<std::string_view, 12> kOwnNames = {
    "single_",
    "double_blocks",
    "ff_net",
    "ff_context",
    "norm1_linear",
    "context_embedder",
    "x_embedder",
    "guidance",
    "proj_mlp",
    "final_layer",
    "time_in",
    "vector_in",
};

// kohya's third text encoder is T5, as it is Stable Diffusion 3's.
constexpr std::array kComponents = {
    lora::ComponentPrefix{"text_encoders.clip_l.transformer.", "text_encoder"},
    lora::ComponentPrefix{"text_encoders.t5xxl.transformer.", "text_encoder_2"},
    lora::ComponentPrefix{"text_encoders.clip_l.", "text_encoder"},
    lora::ComponentPrefix{"text_encoders.t5xxl.", "text_encoder_2"},
    lora::ComponentPrefix{"clip_l.transformer.", "text_encoder"},
    lora::ComponentPrefix{"t5xxl.transformer.", "text_encoder_2"},
    lora::ComponentPrefix{"lora_te3_", "text_encoder_2"},
    lora::ComponentPrefix{"clip_l.", "text_encoder"},
    lora::ComponentPrefix{"t5xxl.", "text_encoder_2"},
    lora::ComponentPrefix{"t5.", "text_encoder_2"},
};

// diffusers' pipeline loads LoRAs for CLIP and none for T5.
constexpr std::array kWritten = {
    lora::WrittenPrefixes{"transformer", "transformer.", "lora_unet_", "diffusion_model."},
    lora::WrittenPrefixes{
        "text_encoder", "text_encoder.", "lora_te1_", "text_encoders.clip_l.transformer."},
    lora::WrittenPrefixes{"text_encoder_2", "", "lora_te3_", "text_encoders.t5xxl.transformer."},
};

constexpr std::array kInputLayers = {
    lora::InputLayer{
        .component = "transformer",
        .tensor = "x_embedder.weight",
        .control_times = 2,
        .control_loras = "FLUX.1-Canny-dev-lora and FLUX.1-Depth-dev-lora",
        .other_times = 6,
        .other_model = "FLUX.1-Fill"},
};

constexpr std::array kMissingLayers = {
    lora::MissingLayer{"guidance", "this model has no guidance embedder (as FLUX.1-schnell)"},
};

}  // namespace

constexpr lora::Family kLora = {
    .name = "flux",
    .title = "FLUX.1",
    .metadata = kMetadata,
    .own_names = kOwnNames,
    .prefixes = kComponents,
    .written = kWritten,
    .input_layers = kInputLayers,
    .missing_layers = kMissingLayers,
};

}  // namespace mflux::models::flux
