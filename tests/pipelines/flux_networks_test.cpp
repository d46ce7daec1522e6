// SPDX-License-Identifier: MIT
// The pieces of FLUX.1's networks that can be right or wrong on their own; the networks themselves
// are compared with Python in tests/oracle.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/base/error.h"
#include "mflux/pipelines/attend.h"
#include "mflux/pipelines/flux/t5.h"
#include "mflux/pipelines/flux/transformer.h"
#include "mflux/pipelines/packing.h"

namespace mflux {
namespace {

using pipelines::flux::relative_bucket;
using pipelines::flux::rotation;
using pipelines::flux::rounded_to_bfloat16;

float at(const mx::array& x, int row, int column) {
  return mx::slice(x, {row, column}, {row + 1, column + 1}).item<float>();
}

TEST_CASE("text is at zero, the picture at its rows and columns, the reference at index one") {
  const pipelines::flux::TransformerConfig config{.head_width = 16, .rope_axes = {4, 6, 6}};
  const auto [cos, sin] =
      rotation({.text_tokens = 2, .image = {2, 3}, .reference = {{1, 2}}}, config);
  REQUIRE(cos.shape() == mx::Shape{2 + 6 + 2, 8});
  for (int i = 0; i < 8; ++i) {
    CHECK(at(cos, 1, i) == 1);
    CHECK(at(sin, 1, i) == 0);
  }
  // Channels 0-1: index, 2-4: row, 5-7: column; the first of each turns once per unit.
  struct Angle {
    int token;
    float index;
    float row;
    float column;
  };
  for (const Angle& angle :
       {Angle{2, 0, 0, 0}, {4, 0, 0, 2}, {7, 0, 1, 2}, {8, 1, 0, 0}, {9, 1, 0, 1}}) {
    CAPTURE(angle.token);
    CHECK(at(sin, angle.token, 0) == doctest::Approx(std::sin(angle.index)));
    CHECK(at(sin, angle.token, 2) == doctest::Approx(std::sin(angle.row)));
    CHECK(at(sin, angle.token, 5) == doctest::Approx(std::sin(angle.column)));
    CHECK(at(cos, angle.token, 5) == doctest::Approx(std::cos(angle.column)));
    const double slower = angle.column * std::pow(10'000, -2.0 / 6);
    CHECK(at(sin, angle.token, 6) == doctest::Approx(std::sin(slower)));
  }
}

TEST_CASE("times and guidance are rounded to bfloat16, halves to even") {
  CHECK(rounded_to_bfloat16(1000) == 1000);
  CHECK(rounded_to_bfloat16(986.979F) == 988);
  CHECK(rounded_to_bfloat16(998) == 1000);  // between 996 and 1000
  CHECK(rounded_to_bfloat16(994) == 992);   // between 992 and 996
  CHECK(rounded_to_bfloat16(3500) == 3504);
  CHECK(rounded_to_bfloat16(0) == 0);
}

TEST_CASE("relative positions have T5's buckets") {
  struct Case {
    int distance;
    int bucket;
  };
  for (const auto& [distance, bucket] :
       {Case{0, 0},
        {-1, 1},
        {1, 17},
        {-7, 7},
        {7, 23},
        {-8, 8},
        {-11, 8},
        {-12, 9},
        {16, 26},
        {-64, 14},
        {90, 30},
        {91, 31},
        {-127, 15},
        {-128, 15},
        {511, 31}}) {
    CAPTURE(distance);
    CHECK(relative_bucket(distance, 32, 128) == bucket);
  }
}

TEST_CASE("a token is two by two positions, ordered by channel, row, column") {
  const mx::array latents = mx::reshape(mx::arange(0, 4 * 6 * 2, mx::float32), {1, 4, 6, 2});
  const mx::array tokens = pipelines::pack(latents);
  REQUIRE(tokens.shape() == mx::Shape{1, 6, 8});
  // Of the token at row 1, column 2: latents from (2, 4); a position is 2, a row is 12 apart.
  const float first = 2 * 12 + 4 * 2;
  const std::vector<float> expected = {
      first, first + 2, first + 12, first + 14, first + 1, first + 3, first + 13, first + 15};
  const mx::array last = mx::slice(tokens, {0, 5, 0}, {1, 6, 8});
  CHECK(mx::array_equal(last, mx::array(expected.data(), {1, 1, 8}, mx::float32)).item<bool>());
  CHECK(mx::array_equal(pipelines::unpack(tokens, 2, 3), latents).item<bool>());
}

TEST_CASE("an id outside the vocabulary is an error") {
  const std::vector<int32_t> ids = {0, 9, 10};
  CHECK_NOTHROW(pipelines::check_ids("text_encoder", ids, 11));
  CHECK_THROWS_WITH(
      pipelines::check_ids("text_encoder", ids, 10),
      "text_encoder: token 10 is outside the vocabulary of 10; the tokenizer belongs to another "
      "model");
}

TEST_CASE("positions must be as many as the tokens") {
  const pipelines::flux::Transformer transformer{
      .config = {.head_width = 16, .rope_axes = {4, 6, 6}}};
  const pipelines::flux::TransformerInput input{
      .tokens = mx::zeros({1, 6, 64}),
      .text = mx::zeros({1, 2, 32}),
      .pooled = mx::zeros({1, 8}),
      .rotation = rotation({.text_tokens = 2, .image = {2, 2}}, transformer.config)};
  CHECK_THROWS_WITH(
      velocity(transformer, input),
      "transformer: 8 tokens of text and picture, but positions for 6");
}

}  // namespace
}  // namespace mflux
