// SPDX-License-Identifier: MIT
// From noise to a picture's latents, step by step. Knows no model: it asks for velocities.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "mflux/nn/mlx.h"
#include "mflux/nn/schedule.h"

namespace mflux {

struct Denoising {
  // Of all steps and the end, falling: nn::sigmas().
  std::span<const float> sigmas = {};
  // The step to begin with; those before it are skipped.
  int first = 0;
  nn::SolverKind solver = nn::SolverKind::euler;
  // Of the model, for messages.
  std::string_view name = {};
};

// What the model says at `sigma`: noise - image, in the shape of the latents. Need not be
// evaluated.
using Velocity = std::function<mx::array(const mx::array& latents, float sigma)>;

// Called after each step: how many are done, those that were skipped included; and the latents,
// evaluated.
using OnStep = std::function<void(int done, const mx::array& latents)>;

// latents: what there is at sigmas[first], float32 -> what is left at the last sigma; evaluated.
// Throws Error, naming the step, for values that are infinite or NaN.
mx::array denoise(
    const Denoising& how, mx::array latents, const Velocity& velocity, const OnStep& on_step);

// A picture's latents as they are at `sigma`: (1 - sigma) * image + sigma * noise.
mx::array noised(const mx::array& image, const mx::array& noise, float sigma);

bool is_finite(const mx::array& values);

}  // namespace mflux
