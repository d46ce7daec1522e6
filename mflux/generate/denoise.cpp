// SPDX-License-Identifier: MIT
// One evaluation a step: MLX gathers what the solver and the model compute, and mx::eval() runs it,
// so the memory of a step is free before the next begins. A NaN anywhere in the model reaches the
// latents, so looking at those is enough to find it, and costs one pass over some thousand values.
#include "mflux/generate/denoise.h"

#include <mlx/mlx.h>

#include "mflux/base/error.h"

namespace mflux {

mx::array denoise(
    const Denoising& how, mx::array latents, const Velocity& velocity, const OnStep& on_step) {
  const auto steps = static_cast<int>(how.sigmas.size()) - 1;
  nn::Solver solver(how.solver);
  for (int step = how.first; step < steps; ++step) {
    const auto at = static_cast<size_t>(step);
    latents = solver.step(latents, how.sigmas[at], how.sigmas[at + 1], velocity);
    mx::eval(latents);
    if (!is_finite(latents)) {
      fail(
          "{}: step {} of {} gave infinite or NaN latents. A weight or a LoRA is damaged, or a "
          "LoRA's scale is far too large (mflux compare and mflux inspect show which)",
          how.name,
          step + 1,
          steps);
    }
    on_step(step + 1, latents);
  }
  return latents;
}

mx::array noised(const mx::array& image, const mx::array& noise, float sigma) {
  return mx::add(mx::multiply(image, mx::array(1 - sigma)), mx::multiply(noise, mx::array(sigma)));
}

bool is_finite(const mx::array& values) {
  return mx::all(mx::isfinite(values)).item<bool>();
}

}  // namespace mflux
