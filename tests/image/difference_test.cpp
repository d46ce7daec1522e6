// SPDX-License-Identifier: MIT
#include "mflux/image/difference.h"

#include <cmath>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using doctest::Approx;

Picture grey(int height, int width, uint8_t value) {
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3), value)};
}

TEST_CASE("PSNR is ten times the logarithm of 255 squared over the mean squared error") {
  CHECK(psnr_db(grey(2, 3, 100), grey(2, 3, 110)) == Approx(10 * std::log10(65025.0 / 100)));
  Picture one = grey(2, 2, 7);
  one.rgb[5] = 10;  // an error of 3 in one of 12 values
  CHECK(psnr_db(grey(2, 2, 7), one) == Approx(10 * std::log10(65025.0 / 0.75)));
  CHECK(psnr_db(grey(1, 1, 0), grey(1, 1, 255)) == 0);
  CHECK(std::isinf(psnr_db(one, one)));
}

TEST_CASE("SSIM of even pictures is the term of their means alone") {
  constexpr double kC1 = 2.55 * 2.55;
  CHECK(ssim(grey(11, 11, 77), grey(11, 11, 77)) == Approx(1).epsilon(1e-12));
  CHECK(
      ssim(grey(13, 20, 100), grey(13, 20, 110)) ==
      Approx((2 * 100 * 110 + kC1) / (100 * 100 + 110 * 110 + kC1)));
}

TEST_CASE("SSIM weighs a single window by the Gaussian of sigma 1.5") {
  Picture dot = grey(11, 11, 0);  // its middle is pixel 60
  for (size_t i = 0; i < 3; ++i) dot.rgb[size_t{180} + i] = 255;
  double sum = 1;
  for (int i = 1; i <= 5; ++i) sum += 2 * std::exp(-i * i / 4.5);
  const double weight = 1 / (sum * sum);  // of the window's middle
  const double mean = 255 * weight;
  const double variance = 255 * 255 * weight * (1 - weight);
  constexpr double kC1 = 2.55 * 2.55;
  constexpr double kC2 = 7.65 * 7.65;
  CHECK(ssim(grey(11, 11, 0), dot) == Approx(kC1 * kC2 / ((mean * mean + kC1) * (variance + kC2))));
}

TEST_CASE("SSIM looks at luma: green counts five times as much as blue") {
  const Picture black = grey(11, 11, 0);
  const auto coloured = [&](size_t channel) {
    Picture picture = black;
    for (size_t i = channel; i < picture.rgb.size(); i += 3) picture.rgb[i] = 200;
    return ssim(black, picture);
  };
  constexpr double kC1 = 2.55 * 2.55;
  CHECK(coloured(0) == Approx(kC1 / (std::pow(200 * 0.299, 2) + kC1)));
  CHECK(coloured(1) == Approx(kC1 / (std::pow(200 * 0.587, 2) + kC1)));
  CHECK(coloured(2) == Approx(kC1 / (std::pow(200 * 0.114, 2) + kC1)));
}

TEST_CASE("the difference picture is averaged, amplified and cut at white") {
  Picture a = grey(3, 4, 10);
  Picture b = a;
  b.rgb[0] = 18;                     // red of the first pixel
  b.rgb[(2 * 4 + 3) * 3 + 2] = 110;  // blue of the last, alone in its row's square with one other
  const Picture whole = amplified_difference(a, b, 2, 4);
  CHECK(whole.width == 4);
  CHECK(whole.height == 3);
  CHECK(whole.rgb[0] == 16);
  CHECK(whole.rgb[(2 * 4 + 3) * 3 + 2] == 200);
  const Picture small = amplified_difference(b, a, 8, 2);  // squares of 2 x 2; below 2 x 1
  CHECK(small.width == 2);
  CHECK(small.height == 2);
  CHECK(small.rgb == std::vector<uint8_t>{16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255});
}

TEST_CASE("pictures of other or too small sizes are refused with both numbers") {
  const auto refusal = [](const Picture& a, const Picture& b) {
    return testing::error_of([&] { ssim(a, b); });
  };
  CHECK(
      refusal(grey(11, 12, 0), grey(12, 11, 0)) ==
      "pictures of 12 x 11 and 11 x 12 pixels cannot be compared");
  CHECK(
      refusal(grey(10, 64, 0), grey(10, 64, 0)) ==
      "64 x 10 pixels are too few for SSIM, which needs 11 x 11");
  CHECK(testing::contains(refusal(grey(64, 10, 0), grey(64, 10, 0)), "10 x 64 pixels are too few"));
  CHECK_THROWS_AS(psnr_db(grey(1, 2, 0), grey(2, 1, 0)), Error);
  CHECK_THROWS_AS(amplified_difference(grey(1, 2, 0), grey(2, 1, 0), 8, 2), Error);
}

}  // namespace
}  // namespace mflux
