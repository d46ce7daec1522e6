// SPDX-License-Identifier: MIT
#include <cmath>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/pipelines/qwen/transformer.h"

namespace mflux {
namespace {

namespace qwen = pipelines::qwen;

TEST_CASE("a picture's tokens are counted from its middle") {
  const std::vector<qwen::Grid> pictures = {{2, 4}, {1, 3}};
  const std::vector<pipelines::Position> positions = qwen::image_positions(pictures);
  REQUIRE(positions.size() == 11);
  CHECK(positions[0] == std::array{0, -1, -2});
  CHECK(positions[3] == std::array{0, -1, 1});
  CHECK(positions[4] == std::array{0, 0, -2});
  CHECK(positions[7] == std::array{0, 0, 1});
  CHECK(positions[8] == std::array{1, -1, -2});  // an odd side has one more before the middle
  CHECK(positions[10] == std::array{1, -1, 0});
}

TEST_CASE("text starts outside the largest picture") {
  CHECK(qwen::first_text_position(std::vector<qwen::Grid>{{64, 64}}) == 32);
  CHECK(qwen::first_text_position(std::vector<qwen::Grid>{{4, 6}, {2, 11}}) == 5);
}

TEST_CASE("guidance keeps each token's length") {
  const mx::array positive = mx::array({3.0F, 4.0F, 0.0F, 1.0F}, {1, 2, 2});
  const mx::array negative = mx::array({1.0F, 0.0F, 1.0F, 0.0F}, {1, 2, 2});
  const mx::array result = qwen::guided(positive, negative, 2.0F);
  const mx::array lengths = mx::sqrt(mx::sum(mx::multiply(result, result), -1));
  CHECK(mx::allclose(lengths, mx::array({5.0F, 1.0F}, {1, 2})).item<bool>());
  // (1, 0) + 2 ((3, 4) - (1, 0)) = (5, 8), made 5 long.
  const float length = std::sqrt(89.0F);
  const mx::array first = mx::array({25.0F / length, 40.0F / length});
  CHECK(mx::allclose(mx::take(mx::squeeze(result, 0), mx::array(0), 0), first).item<bool>());
}

TEST_CASE("guidance one is the positive prompt's prediction") {
  const mx::array positive = mx::random::normal({1, 3, 8});
  const mx::array negative = mx::random::normal({1, 3, 8});
  const mx::array result = qwen::guided(positive, negative, 1.0F);
  CHECK(mx::allclose(result, positive).item<bool>());
}

TEST_CASE("a token of zeros stays zero under guidance") {
  const mx::array zeros = mx::zeros({1, 2, 4});
  CHECK(mx::array_equal(qwen::guided(zeros, zeros, 3.5F), zeros).item<bool>());
}

}  // namespace
}  // namespace mflux
