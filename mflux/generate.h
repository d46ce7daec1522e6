// SPDX-License-Identifier: MIT
// Pictures from a prompt.
//
//   const mflux::Generated result = mflux::generate({.model = "OUT", .prompt = "a sunset"});
//   mflux::write_png("sunset.png", result.pictures.front().picture, {});
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/generate/options.h"
#include "mflux/image/picture.h"

namespace mflux {

struct GenerateProgress {
  int step = 0;  // done
  int steps = 0;
  size_t picture = 0;  // index into the seeds
  double seconds_per_step = 0;
};

struct GeneratedPicture {
  uint64_t seed = 0;
  Picture picture = {};
};

struct GenerateEvents {
  std::function<void(std::string_view line)> log = {};   // every step
  std::function<void(std::string_view line)> note = {};  // what the user should know
  std::function<void(const GeneratePlan&)> plan = {};    // settled; nothing is loaded yet
  std::function<void(const GenerateProgress&)> progress = {};
  // The picture as it would be after a step; costs a pass of the VAE.
  std::function<void(const GenerateProgress&, const Picture&)> preview = {};
  std::function<void(const GeneratedPicture&)> picture = {};  // one is done
  std::atomic<bool>* stop = nullptr;  // set it to end with an Error of kind interrupted
};

struct Generated {
  GeneratePlan plan = {};
  std::vector<GeneratedPicture> pictures = {};  // in the order of the seeds
};

// From headers and configurations alone.
GeneratePlan plan_generate(const GenerateOptions& options);

// Throws Error: a model, LoRA or picture that does not fit, sizes that are no multiples of 16,
// options beyond the limits of generate/options.h, NaN in weights or latents (naming the step).
Generated generate(const GenerateOptions& options, const GenerateEvents& events = {});

// "NVIDIA GPU", "Metal" or "CPU": what MLX computes on.
std::string generate_device();

}  // namespace mflux
