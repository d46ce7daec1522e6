// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/qwen/references.h"

namespace mflux {
namespace {

using namespace pipelines::qwen;

TEST_CASE("references have about the wanted area, in sides of 32") {
  CHECK(fit_area({.height = 512, .width = 512}, kVaeArea) == PictureSize{1024, 1024});
  CHECK(fit_area({.height = 1080, .width = 1920}, kVaeArea) == PictureSize{768, 1376});
  CHECK(fit_area({.height = 1080, .width = 1920}, kNamedVisionArea) == PictureSize{288, 512});
  CHECK_THROWS_WITH_AS(
      fit_area({.height = 1, .width = 9000}, kNamedVisionArea),
      "a picture of 9000 x 1 pixels is too narrow for Qwen-Image-Edit",
      Error);
}

TEST_CASE("the vision tower sees whole merged patches, neither too many nor too few") {
  const VisionConfig config;
  const PixelLimits limits{.least = 56 * 56, .most = 28 * 28 * 1280};
  CHECK(fit_patches({.height = 384, .width = 384}, config, limits) == PictureSize{392, 392});
  CHECK(fit_patches({.height = 1024, .width = 1024}, config, limits) == PictureSize{980, 980});
  CHECK(fit_patches({.height = 32, .width = 32}, config, limits) == PictureSize{56, 56});
}

TEST_CASE("patches come block by block, a patch as channel, frame, row, column") {
  const VisionConfig config{.patch = 1, .frames = 2, .merge = 2};
  const PixelLimits limits{.least = 1, .most = 100};
  const mx::array image = mx::reshape(mx::arange(0, 24, mx::float32), {2, 4, 3});
  const VisionInput input = vision_input(
      mx::subtract(mx::divide(image, mx::array(127.5F)), mx::array(1.0F)), config, limits);
  CHECK(input.grid == std::pair(2, 4));
  REQUIRE(input.patches.shape() == mx::Shape{8, 6});
  // The red level of each patch's first frame, normalized: its position in the picture times 3.
  const mx::array red = mx::squeeze(mx::slice(input.patches, {0, 0}, {8, 1}), 1);
  const mx::array level = mx::multiply(
      mx::add(mx::multiply(red, mx::array(0.26862954F)), mx::array(0.48145466F)),
      mx::array(255.0F));
  const mx::array expected = mx::array({0.0F, 3.0F, 12.0F, 15.0F, 6.0F, 9.0F, 18.0F, 21.0F});
  CHECK(mx::allclose(level, expected, 0, 1e-3).item<bool>());
}

}  // namespace
}  // namespace mflux
