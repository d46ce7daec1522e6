// SPDX-License-Identifier: MIT
// Sigmas are computed in float64 and rounded once, at the end. A solver adds one graph of MLX to
// another; nothing is evaluated here.
#include "mflux/nn/schedule.h"

#include <array>
#include <cmath>
#include <utility>

#include <mlx/ops.h>

#include "mflux/base/error.h"

namespace mflux::nn {
namespace {

double shifted(double sigma, double mu) {
  return std::exp(mu) / (std::exp(mu) + (1 / sigma - 1));
}

double mu_of(const ScheduleShift& shift, int image_tokens) {
  const double slope =
      (shift.max_shift - shift.base_shift) / (shift.max_tokens - shift.base_tokens);
  return image_tokens * slope + (shift.base_shift - slope * shift.base_tokens);
}

float lambda_of(float sigma) {  // minus infinity at 1, plus infinity at 0
  return std::log(1 - sigma) - std::log(sigma);
}

}  // namespace

std::vector<float> sigmas(int steps, int image_tokens, const std::optional<ScheduleShift>& shift) {
  if (steps < 1) fail(ErrorKind::usage, "{} steps: at least one is needed", steps);
  std::vector<double> values;
  for (int i = 0; i < steps; ++i) {
    const double last = 1.0 / steps;
    const double sigma = steps == 1 ? 1 : 1 + (last - 1) * i / (steps - 1);
    values.push_back(shift ? shifted(sigma, mu_of(*shift, image_tokens)) : sigma);
  }
  const double gap = 1 - values.back();
  if (shift && shift->terminal && gap > 0) {
    for (double& value : values) value = 1 - (1 - value) * (1 - *shift->terminal) / gap;
  }
  std::vector<float> result(values.begin(), values.end());
  result.push_back(0);
  return result;
}

std::optional<SolverKind> parse_solver(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, SolverKind>, 6> kNames = {{
      {"linear", SolverKind::euler},
      {"euler", SolverKind::euler},
      {"flow_match_euler_discrete", SolverKind::euler},
      {"heun", SolverKind::heun},
      {"dpm++2m", SolverKind::dpmpp_2m},
      {"dpmpp_2m", SolverKind::dpmpp_2m},
  }};
  for (const auto& [known, kind] : kNames) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

mx::array Solver::moved(const mx::array& latents, const mx::array& v, float distance) {
  return mx::add(latents, mx::multiply(v, mx::array(distance)));
}

mx::array Solver::multistep(const mx::array& latents, const mx::array& v, float sigma, float next) {
  const mx::array image = moved(latents, v, -sigma);
  const float lambda = lambda_of(sigma);
  const float width = lambda_of(next) - lambda;
  mx::array target = image;
  // The first step has no step before it, and the last no room for a second order.
  if (image_ && next > 0 && std::isfinite(last_lambda_)) {
    const float half_inverse = width / (2 * (lambda - last_lambda_));
    target = moved(image, mx::subtract(image, *image_), half_inverse);
  }
  image_ = image;
  last_lambda_ = lambda;
  return mx::subtract(
      mx::multiply(latents, mx::array(next / sigma)),
      mx::multiply(target, mx::array((1 - next) * std::expm1(-width))));
}

}  // namespace mflux::nn
