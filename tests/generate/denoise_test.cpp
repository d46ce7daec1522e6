// SPDX-License-Identifier: MIT
#include "mflux/generate/denoise.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"

namespace mflux {
namespace {

const std::vector<float> kSigmas = {1, 0.8F, 0.5F, 0.1F, 0};

mx::array noise() {
  return mx::array({2.0F, -1.0F, 0.5F}, {1, 1, 3});
}

mx::array image() {
  return mx::array({0.25F, 0.5F, -0.75F}, {1, 1, 3});
}

// That of a model that knows the image.
mx::array exact(const mx::array& latents, float sigma) {
  return mx::divide(mx::subtract(latents, image()), mx::array(sigma));
}

void nothing(int, const mx::array&) {}

bool close(const mx::array& a, const mx::array& b) {
  return mx::allclose(a, b, 1e-5, 1e-6).item<bool>();
}

TEST_CASE("a model that knows the image ends at it, whichever solver steps") {
  for (const auto solver :
       {nn::SolverKind::euler, nn::SolverKind::heun, nn::SolverKind::dpmpp_2m}) {
    CAPTURE(static_cast<int>(solver));
    const Denoising how{.sigmas = kSigmas, .solver = solver};
    CHECK(close(denoise(how, noise(), exact, nothing), image()));
  }
}

TEST_CASE("a step goes as far as its two sigmas lie apart, and the model is asked at the first") {
  std::vector<float> asked;
  std::vector<float> seen;
  const auto velocity = [&](const mx::array& latents, float sigma) {
    asked.push_back(sigma);
    seen.push_back(mx::slice(latents, {0, 0, 0}, {1, 1, 1}).item<float>());
    return mx::full(latents.shape(), 10.0F);
  };
  const mx::array end = denoise({.sigmas = kSigmas}, mx::zeros({1, 1, 3}), velocity, nothing);
  CHECK(asked == std::vector<float>{1, 0.8F, 0.5F, 0.1F});
  const std::vector<float> expected = {0, -2, -5, -9};
  REQUIRE(seen.size() == expected.size());
  for (size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == doctest::Approx(expected[i]));
  CHECK(close(end, mx::full({1, 1, 3}, -10.0F)));
}

TEST_CASE("each step is told with its number and its latents, those that are skipped are not") {
  for (const int first : {0, 1, 3}) {
    CAPTURE(first);
    std::vector<int> done;
    std::vector<mx::array> latents;
    const auto on_step = [&](int number, const mx::array& now) {
      CHECK(now.is_available());  // evaluated
      done.push_back(number);
      latents.push_back(now);
    };
    const mx::array begin = noised(image(), noise(), kSigmas[static_cast<size_t>(first)]);
    const mx::array end = denoise({.sigmas = kSigmas, .first = first}, begin, exact, on_step);
    REQUIRE(done.size() == static_cast<size_t>(4 - first));
    for (size_t i = 0; i < done.size(); ++i) {
      CHECK(done[i] == first + 1 + static_cast<int>(i));
      const float sigma = kSigmas[static_cast<size_t>(done[i])];
      CHECK(close(latents[i], noised(image(), noise(), sigma)));
    }
    CHECK(mx::array_equal(latents.back(), end).item<bool>());
  }
}

TEST_CASE("between image and noise a picture is a straight line") {
  CHECK(mx::array_equal(noised(image(), noise(), 0), image()).item<bool>());
  CHECK(mx::array_equal(noised(image(), noise(), 1), noise()).item<bool>());
  const mx::array quarter = mx::array({0.6875F, 0.125F, -0.4375F}, {1, 1, 3});
  CHECK(close(noised(image(), noise(), 0.25F), quarter));
}

TEST_CASE("a step that gives no number ends the loop and is named") {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    int told = 0;
    const auto velocity = [&](const mx::array& latents, float sigma) {
      mx::array v = mx::zeros(latents.shape());
      return sigma == 0.5F ? mx::add(v, mx::array({0.0F, bad, 0.0F})) : v;
    };
    CHECK_THROWS_WITH_AS(
        denoise(
            {.sigmas = kSigmas, .name = "the/model"},
            noise(),
            velocity,
            [&](int, const mx::array&) { ++told; }),
        doctest::Contains("the/model: step 3 of 4 gave infinite or NaN latents."),
        Error);
    CHECK(told == 2);
  }
}

TEST_CASE("who asks the model may end the loop") {
  int asked = 0;
  const auto velocity = [&](const mx::array& latents, float) {
    if (++asked == 2) fail(ErrorKind::interrupted, "interrupted");
    return mx::zeros(latents.shape());
  };
  CHECK_THROWS_WITH_AS(
      denoise({.sigmas = kSigmas}, noise(), velocity, nothing), "interrupted", Error);
  CHECK(asked == 2);
}

}  // namespace
}  // namespace mflux
