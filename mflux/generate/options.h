// SPDX-License-Identifier: MIT
// What can be asked of a generation, and what is settled before anything is loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mflux/options.h"

namespace mflux {

constexpr int kMostSteps = 10'000;
// Pixels.
constexpr int kLargestSide = 16'384;
// A text encoder reads some thousand.
constexpr size_t kMostPromptBytes = 100'000;
// Of one call.
constexpr size_t kMostPictures = 10'000;

struct GenerateOptions {
  std::string model = {};                      // folder, file or name; see hub/hub.h
  std::optional<std::string> base_model = {};  // family, where the files cannot tell
  std::string prompt = {};
  std::string negative_prompt = {};  // Qwen-Image only
  std::vector<uint64_t> seeds = {0};
  std::optional<int> height = {};  // pixels, multiples of 16; none: 1024, or the init image's
  std::optional<int> width = {};
  std::optional<int> steps = {};       // none: the model's own
  std::optional<float> guidance = {};  // none: the model's own
  std::string scheduler = "linear";    // or "heun", "dpm++2m"
  // Begin with this picture instead of noise; a strength of 0.4 skips the first 40 % of the steps.
  std::optional<std::filesystem::path> image = {};
  float image_strength = 0.4F;  // above 0, below 1
  // What Kontext, Fill and Qwen-Image-Edit look at, and Fill's mask (white where to paint).
  std::vector<std::filesystem::path> references = {};
  std::optional<std::filesystem::path> mask = {};
  std::vector<LoraRequest> loras = {};  // at run time, in this order
  std::optional<int> bits = {};         // packs while loading; none: as the folder says
  QuantMode mode = QuantMode::affine;
  // What the CPU multiplies in where weights are bfloat16 or packed: "float32", "bfloat16", or
  // "auto", which is bfloat16 if it has instructions for that. Sums are float32.
  std::string cpu_precision = "auto";
  bool low_memory = false;           // transformer block by block, and gone before the VAE comes
  std::optional<int> vae_tile = {};  // pixels, a multiple of 16; none: at once
};

// What was settled: options with nothing left open, and what the files say.
struct GeneratePlan {
  std::string family = {};  // "flux", "qwen"
  std::string title = {};   // "FLUX.1"
  int height = 0;
  int width = 0;
  int steps = 0;
  float guidance = 0;
  bool uses_guidance = true;  // false: the model has no guidance embedder
  bool uses_negative_prompt = false;
  bool begins_with_image = false;  // false, though one is given: the model looks at it
  std::vector<float> sigmas = {};
  std::optional<int> bits = {};  // packed while loading
  bool packs = false;            // there is something to pack
  struct Part {
    std::string component = {};
    uint64_t bytes = 0;  // of weights in memory
  };
  std::vector<Part> parts = {};
  uint64_t peak_bytes = 0;  // estimate: the largest set of weights held at once, and activations
};

}  // namespace mflux
