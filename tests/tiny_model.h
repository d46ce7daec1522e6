// SPDX-License-Identifier: MIT
// A model folder as diffusers writes it, but small: the tensors of the published FLUX.1-dev and
// Qwen-Image, with few blocks and narrow layers, filled with numbers that are the same everywhere.
// And LoRAs for it.
//
//   write_tiny_model("flux", TinyFamily::flux);
//   write_tiny_lora("style.safetensors", TinyFamily::flux, TinyLora::peft);
#pragma once

#include <cstdint>
#include <filesystem>

namespace mflux::testing {

enum class TinyFamily : uint8_t { flux, qwen };

struct TinySize {
  uint64_t hidden = 128;  // of the transformer, a multiple of 64
  int blocks = 2;         // of each kind, and layers of each text encoder
  int shards = 2;         // files of the transformer
};

enum class TinyLora : uint8_t {
  peft,    // as diffusers and PEFT write it: all linear layers of the blocks, no alpha
  kohya,   // flat names, alpha half the rank; FLUX: BFL's fused layers and the text encoder too
  misfit,  // peft, but one matrix is too wide and one layer does not exist
};

// Tensors in BF16, all configurations, and the tokenizers of tests/data, which know more tokens
// than the text encoders.
void write_tiny_model(
    const std::filesystem::path& folder, TinyFamily family, const TinySize& size = {});

void write_tiny_lora(
    const std::filesystem::path& file,
    TinyFamily family,
    TinyLora kind,
    const TinySize& size = {},
    uint64_t rank = 8);

}  // namespace mflux::testing
