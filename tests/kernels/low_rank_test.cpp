// SPDX-License-Identifier: MIT
#include "mflux/kernels/low_rank.h"

#include <cmath>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/kernels/numbers.h"
#include "tests/kernels/targets.h"

namespace mflux::kernels::testing {
namespace {

struct Size {
  uint64_t rows;
  uint64_t rank;
  uint64_t columns;
};

std::vector<float> plain_product(
    const std::vector<float>& up, const std::vector<float>& down, const Size& size) {
  std::vector<float> delta(size.rows * size.columns);
  for (uint64_t i = 0; i < size.rows; ++i) {
    for (uint64_t j = 0; j < size.columns; ++j) {
      float sum = 0;
      for (uint64_t k = 0; k < size.rank; ++k) {
        sum = std::fma(up[i * size.rank + k], down[k * size.columns + j], sum);
      }
      delta[i * size.columns + j] = sum;
    }
  }
  return delta;
}

std::vector<float> product(
    const std::vector<float>& up, const std::vector<float>& down, const Size& size) {
  std::vector<float> packed(packed_down_size(size.rank, size.columns), NAN);
  pack_down(down, size.rank, size.columns, packed);
  std::vector<float> delta(size.rows * size.columns + 1, NAN);
  delta.back() = 77;
  low_rank_product(
      up, packed, size.rows, size.rank, size.columns, std::span(delta).first(delta.size() - 1));
  CHECK(delta.back() == 77);
  delta.pop_back();
  return delta;
}

TEST_CASE("the product is a plain loop of fused multiply-adds, bit for bit, on every target") {
  for (const uint64_t rows : {1U, 2U, 3U, 4U, 7U, 8U, 9U, 17U}) {
    for (const uint64_t rank : {1U, 2U, 5U, 16U, 33U}) {
      for (const uint64_t columns : {1U, 7U, 15U, 16U, 31U, 32U, 33U, 64U, 101U}) {
        const Size size{rows, rank, columns};
        CAPTURE(rows);
        CAPTURE(rank);
        CAPTURE(columns);
        const auto seed = static_cast<uint32_t>(rows * 10007 + rank * 101 + columns);
        const std::vector<float> up = wide_numbers(rows * rank, seed);
        const std::vector<float> down = wide_numbers(rank * columns, seed + 1);
        const std::string expected = bits_of(plain_product(up, down, size));
        for_each_target([&] { CHECK(bits_of(product(up, down, size)) == expected); });
      }
    }
  }
}

TEST_CASE("the product rounds once per step") {
  // 1 + 2^-23 squared has bits that a rounded product loses before the sum cancels the rest.
  const float x = 1 + 0x1p-23F;
  const Size size{1, 2, 32};
  const std::vector<float> up = {-1, x};
  std::vector<float> down(64, 1 + 0x1p-22F);
  for (size_t j = 32; j < 64; ++j) down[j] = x;
  for_each_target([&] {
    for (const float value : product(up, down, size)) CHECK(value == 0x1p-46F);
  });
}

TEST_CASE("a LoRA of rank 0 adds nothing") {
  const Size size{3, 0, 33};
  for_each_target([&] { CHECK(product({}, {}, size) == std::vector<float>(99)); });
}

TEST_CASE("panels hold 32 columns each, the last filled up with zeros") {
  const std::vector<float> down = wide_numbers(3 * 40, 9);
  REQUIRE(packed_down_size(3, 40) == 3 * 64);
  std::vector<float> packed(3 * 64, NAN);
  pack_down(down, 3, 40, packed);
  for (uint64_t k = 0; k < 3; ++k) {
    for (uint64_t j = 0; j < 64; ++j) {
      const float expected = j < 40 ? down[k * 40 + j] : 0;
      CHECK(packed[(j / 32) * 3 * 32 + k * 32 + j % 32] == expected);
    }
  }
}

TEST_CASE("deltas are added in float32, whatever the length") {
  for_each_target([&] {
    for (size_t length = 0; length <= 40; ++length) {
      std::vector<float> w = wide_numbers(length, 11);
      const std::vector<float> delta = wide_numbers(length, 12);
      std::vector<float> expected = w;
      for (size_t i = 0; i < length; ++i) expected[i] = expected[i] + delta[i];
      add(delta, w);
      CHECK(bits_of(w) == bits_of(expected));
    }
  });
}

}  // namespace
}  // namespace mflux::kernels::testing
