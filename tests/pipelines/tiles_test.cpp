// SPDX-License-Identifier: MIT
#include "mflux/pipelines/tiles.h"

#include <algorithm>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/nn/ops.h"

namespace mflux {
namespace {

mx::array twice(const mx::array& x) {
  return nn::upsample_nearest(x);
}

TEST_CASE("tiles of what needs no neighbours join without a seam") {
  const mx::array x = mx::random::normal({1, 23, 17, 3});
  for (const int tile : {2, 6, 16, 64}) {
    const mx::array y = pipelines::decode_in_tiles(x, tile, 2, twice);
    CHECK(y.shape() == mx::Shape{1, 46, 34, 3});
    CHECK(mx::allclose(y, twice(x), 1e-5, 1e-6).item<bool>());
  }
}

TEST_CASE("no tile is larger than asked for") {
  int largest = 0;
  const auto measure = [&largest](const mx::array& x) {
    largest = std::max({largest, x.shape(1), x.shape(2)});
    return twice(x);
  };
  pipelines::decode_in_tiles(mx::zeros({1, 40, 8, 1}), 16, 2, measure);
  CHECK(largest == 8);
}

TEST_CASE("tiles smaller than a latent are refused") {
  CHECK_THROWS_WITH_AS(
      pipelines::decode_in_tiles(mx::zeros({1, 4, 4, 1}), 4, 8, twice),
      "tiles of 4 pixels: at least 8 are needed",
      Error);
}

}  // namespace
}  // namespace mflux
