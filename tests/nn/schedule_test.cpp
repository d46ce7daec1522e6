// SPDX-License-Identifier: MIT
#include "mflux/nn/schedule.h"

#include <cmath>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"

namespace mflux {
namespace {

using nn::ScheduleShift;
using nn::Solver;
using nn::SolverKind;

constexpr ScheduleShift kQwen = {
    .base_tokens = 256,
    .base_shift = 0.5F,
    .max_tokens = 8192,
    .max_shift = 0.9F,
    .terminal = 0.02F};

void check_sigmas(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 1e-6F);
}

TEST_CASE("sigmas are those of Python's mflux") {
  check_sigmas(nn::sigmas(4, 1024, ScheduleShift{}), {1.0F, 0.849235F, 0.652489F, 0.384945F, 0.0F});
  check_sigmas(nn::sigmas(4, 4096, {}), {1.0F, 0.75F, 0.5F, 0.25F, 0.0F});
  check_sigmas(nn::sigmas(4, 83 * 83, kQwen), {1.0F, 0.78098F, 0.475549F, 0.02F, 0.0F});
}

TEST_CASE("one step has nothing to stretch") {
  check_sigmas(nn::sigmas(1, 4096, kQwen), {1.0F, 0.0F});
  CHECK_THROWS_AS(nn::sigmas(0, 4096, kQwen), Error);
}

TEST_CASE("solvers have the names users know") {
  CHECK(nn::parse_solver("linear") == SolverKind::euler);
  CHECK(nn::parse_solver("heun") == SolverKind::heun);
  CHECK(nn::parse_solver("dpm++2m") == SolverKind::dpmpp_2m);
  CHECK(!nn::parse_solver("ddim"));
}

// The exact flow of a Gaussian image of deviation `width`: x(sigma) / x(1) = sqrt((1 - sigma)^2
// width^2 + sigma^2), whose velocity is known everywhere.
constexpr float kWidth = 0.3F;

float error_of(SolverKind kind, int steps) {
  Solver solver(kind);
  mx::array x = mx::array(1.0F);
  const std::vector<float> sigmas = nn::sigmas(steps, 256, {});
  const auto velocity = [](const mx::array& at, float sigma) {
    const float image = (1 - sigma) * kWidth * kWidth;
    const float variance = (1 - sigma) * image + sigma * sigma;
    return mx::multiply(at, mx::array((sigma - image) / variance));
  };
  for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
    x = solver.step(x, sigmas[i], sigmas[i + 1], velocity);
  }
  return std::abs(x.item<float>() - kWidth);
}

TEST_CASE("higher order comes closer to the exact flow, and more steps closer still") {
  for (const SolverKind kind : {SolverKind::euler, SolverKind::heun, SolverKind::dpmpp_2m}) {
    CHECK(error_of(kind, 80) < 0.7F * error_of(kind, 40));
  }
  CHECK(error_of(SolverKind::heun, 20) < 0.3F * error_of(SolverKind::euler, 20));
  CHECK(error_of(SolverKind::dpmpp_2m, 20) < 0.5F * error_of(SolverKind::euler, 20));
}

TEST_CASE("one step of any solver is finite") {
  for (const SolverKind kind : {SolverKind::euler, SolverKind::heun, SolverKind::dpmpp_2m}) {
    CHECK(std::isfinite(error_of(kind, 1)));
  }
}

TEST_CASE("noise is that of Python's mflux") {
  const mx::array noise = mx::random::normal({1, 4096, 64}, mx::float32, mx::random::key(42));
  const mx::array first = mx::slice(mx::flatten(noise), {0}, {4});
  const mx::array expected = mx::array({-1.237981F, -0.604468F, -1.317853F, 0.081973F});
  CHECK(mx::allclose(first, expected, 1e-5, 1e-6).item<bool>());
}

}  // namespace
}  // namespace mflux
