// SPDX-License-Identifier: MIT
#include <limits>
#include <optional>
#include <vector>

#include <doctest/doctest.h>
#include <mlx/mlx.h>

#include "mflux/nn/ops.h"
#include "tests/nn/cpu_checks.h"

namespace mflux::nn::testing {
namespace {

constexpr double kTolerance = 2e-6;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Sizes {
  int batch = 1;
  int heads = 1;
  int kv_heads = 1;
  int queries = 1;
  int keys = 1;
  int width = 1;
};

// [batch, heads, tokens, width], as a view of what linear layers give.
mx::array heads_of(int batch, int tokens, int heads, int width) {
  const mx::array x = mx::random::normal({batch, tokens, heads, width});
  mx::eval(x);
  return mx::transpose(x, {0, 2, 1, 3});
}

mx::array expected_attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    double scale,
    const std::optional<mx::array>& mask) {
  const int repeats = q.shape(1) / k.shape(1);
  const mx::array keys = mx::repeat(wide(k), repeats, 1);
  const mx::array values = mx::repeat(wide(v), repeats, 1);
  mx::array scores = mx::matmul(wide(q), mx::swapaxes(keys, -1, -2));
  scores = mx::multiply(scores, mx::array(scale, mx::float64));
  if (mask) scores = mx::add(scores, wide(*mask));
  const mx::array powers = mx::exp(mx::subtract(scores, mx::max(scores, -1, true)));
  return mx::matmul(mx::divide(powers, mx::sum(powers, -1, true)), values);
}

void check_attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    const std::optional<mx::array>& mask = {}) {
  check_operation(
      [&] { return attention(q, k, v, 0.25F, mask); },
      expected_attention(q, k, v, 0.25, mask),
      kTolerance);
}

TEST_CASE_FIXTURE(
    Seeded, "attention of the CPU is its definition, however many tokens fill the last tile") {
  const std::vector<Sizes> all = {
      {},
      {.keys = 600, .width = 3},
      {.batch = 2, .heads = 3, .kv_heads = 3, .queries = 5, .keys = 7, .width = 16},
      {.heads = 2, .kv_heads = 2, .queries = 130, .keys = 513, .width = 64},
      {.heads = 2, .kv_heads = 1, .queries = 257, .keys = 1100, .width = 40},
      {.batch = 2, .heads = 6, .kv_heads = 2, .queries = 33, .keys = 33, .width = 128}};
  for (const Sizes& s : all) {
    CAPTURE(s.keys);
    check_attention(
        heads_of(s.batch, s.queries, s.heads, s.width),
        heads_of(s.batch, s.keys, s.kv_heads, s.width),
        heads_of(s.batch, s.keys, s.kv_heads, s.width));
  }
}

TEST_CASE_FIXTURE(Seeded, "attention of the CPU takes any layout") {
  const mx::array q = mx::random::normal({2, 3, 70, 24});
  const mx::array strided = mx::swapaxes(mx::random::normal({2, 3, 24, 50}), -1, -2);
  const mx::array narrow =
      mx::slice(mx::random::normal({2, 3, 50, 99}), {0, 0, 0, 7}, {2, 3, 50, 31});
  check_attention(q, strided, narrow);
  const mx::array same = mx::broadcast_to(mx::random::normal({2, 3, 1, 24}), {2, 3, 50, 24});
  check_attention(mx::slice(q, {0, 0, 1, 0}, {2, 3, 70, 24}, {1, 1, 3, 1}), narrow, same);
  // Values of another width than keys.
  check_attention(q, strided, mx::random::normal({2, 3, 50, 5}));
}

TEST_CASE_FIXTURE(Seeded, "attention of the CPU adds a mask of any shape that fits") {
  const mx::array q = heads_of(2, 40, 4, 8);
  const mx::array k = heads_of(2, 700, 2, 8);
  const mx::array v = heads_of(2, 700, 2, 8);
  for (const mx::Shape& shape : {mx::Shape{40, 700}, {2, 1, 1, 700}, {2, 4, 40, 700}, {40, 1}}) {
    check_attention(q, k, v, mx::random::normal(shape));
  }
  const mx::array turned = mx::transpose(mx::random::normal({700, 40}));
  check_attention(q, k, v, turned);
  // The first tile of keys excluded, and then all but one key.
  const mx::array index = mx::arange(0, 700, mx::int32);
  const mx::array zero = mx::array(0.0F);
  const mx::array none = mx::array(-kInfinity);
  check_attention(q, k, v, mx::where(mx::less(index, mx::array(600)), none, zero));
  check_attention(q, k, v, mx::where(mx::equal(index, mx::array(3)), zero, none));
}

TEST_CASE_FIXTURE(Seeded, "attention of the CPU shifts scores of any size") {
  const mx::array q = mx::multiply(heads_of(1, 9, 1, 16), mx::array(100.0F));
  const mx::array k = mx::multiply(heads_of(1, 1030, 1, 16), mx::array(100.0F));
  const mx::array y = attention(q, k, heads_of(1, 1030, 1, 16), 1.0F);
  CHECK(mx::all(mx::isfinite(y)).item<bool>());
}

TEST_CASE_FIXTURE(Seeded, "attention of the CPU keeps NaN") {
  const mx::array x = heads_of(1, 30, 1, 16);
  const mx::array nan = mx::full({1, 1, 30, 16}, std::numeric_limits<float>::quiet_NaN());
  CHECK(mx::all(mx::isnan(attention(nan, x, x, 1.0F))).item<bool>());
  CHECK(mx::all(mx::isnan(attention(x, x, nan, 1.0F))).item<bool>());
  const mx::array nothing = mx::full({30, 30}, -kInfinity);
  CHECK(mx::all(mx::isnan(attention(x, x, x, 1.0F, nothing))).item<bool>());
}

}  // namespace
}  // namespace mflux::nn::testing
