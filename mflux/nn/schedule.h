// SPDX-License-Identifier: MIT
// Flow matching: at sigma a picture is (1 - sigma) * image + sigma * noise, and the model tells the
// velocity noise - image. A schedule says at which sigmas it is asked; a solver makes the steps.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "mflux/nn/mlx.h"

namespace mflux::nn {

// Esser et al. 2024 (arXiv:2403.03206): sigma' = e^mu / (e^mu + 1 / sigma - 1), where mu grows with
// the number of image tokens along a line through two points.
struct ScheduleShift {
  float base_tokens = 256;
  float base_shift = 0.5F;
  float max_tokens = 4096;
  float max_shift = 1.15F;
  std::optional<float> terminal = {};  // sigmas are stretched so that the last is this
};

// steps + 1 values from 1 down to 0, the numbers of Python's mflux ("linear"). steps > 0. With one
// step there is nothing to stretch.
std::vector<float> sigmas(int steps, int image_tokens, const std::optional<ScheduleShift>& shift);

enum class SolverKind : uint8_t {
  euler,    // one evaluation a step; what mflux and diffusers do
  heun,     // two, second order
  dpmpp_2m  // one, second order from the step before (Lu et al. 2022, arXiv:2211.01095)
};
std::optional<SolverKind> parse_solver(
    std::string_view name);  // "linear", "euler", "heun", "dpm++2m"

// Steps from sigma to sigma; keeps what its order needs.
class Solver {
 public:
  explicit Solver(SolverKind kind) : kind_(kind) {}

  // `velocity(latents, sigma)` asks the model. Nothing is evaluated.
  template <typename Velocity>
  mx::array step(const mx::array& latents, float sigma, float next, const Velocity& velocity) {
    const mx::array v = velocity(latents, sigma);
    if (kind_ == SolverKind::dpmpp_2m) return multistep(latents, v, sigma, next);
    const mx::array euler = moved(latents, v, next - sigma);
    if (kind_ == SolverKind::euler || next == 0) return euler;
    const mx::array end = velocity(euler, next);
    return moved(moved(latents, v, (next - sigma) / 2), end, (next - sigma) / 2);
  }

 private:
  static mx::array moved(const mx::array& latents, const mx::array& v, float distance);
  mx::array multistep(const mx::array& latents, const mx::array& v, float sigma, float next);

  SolverKind kind_;
  std::optional<mx::array> image_ = {};  // predicted at the step before
  float last_lambda_ = 0;                // log((1 - sigma) / sigma) there
};

}  // namespace mflux::nn
