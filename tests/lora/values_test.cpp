// SPDX-License-Identifier: MIT
#include "mflux/lora/values.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux::lora {
namespace {

using testing::bytes_of;

TEST_CASE("a value that is not finite is found wherever it is") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t size : {size_t{1}, size_t{16384}, size_t{16385}, size_t{50000}}) {
    std::vector<float> values(size, 1);
    CHECK(all_finite(Dtype::f32, bytes_of(values)));
    for (const size_t at : {size_t{0}, size / 2, size - 1}) {
      values[at] = nan;
      CHECK_FALSE(all_finite(Dtype::f32, bytes_of(values)));
      values[at] = 1;
    }
  }
  CHECK_FALSE(all_finite(Dtype::f16, bytes_of<uint16_t>({0x3c00, 0x7c00})));
  CHECK_FALSE(all_finite(Dtype::bf16, bytes_of<uint16_t>({0x3f80, 0x7f80})));
  CHECK_FALSE(all_finite(Dtype::f64, bytes_of<double>({1, 1e39})));
  CHECK(all_finite(Dtype::f64, bytes_of<double>({1, 1e38})));
  CHECK(all_finite(Dtype::f32, {}));
}

TEST_CASE("only a tensor with one number is a scalar") {
  CHECK(read_scalar({Dtype::f32, {}}, bytes_of<float>({2.5})) == 2.5);
  CHECK(read_scalar({Dtype::f64, {1, 1}}, bytes_of<double>({0.1})) == 0.1);
  CHECK(read_scalar({Dtype::i64, {1}}, bytes_of<int64_t>({-3})) == -3);
  CHECK_FALSE(read_scalar({Dtype::f32, {2}}, bytes_of<float>({1, 2})));
  CHECK_FALSE(read_scalar({Dtype::f32, {0}}, {}));
  CHECK_FALSE(read_scalar({Dtype::boolean, {}}, bytes_of<uint8_t>({1})));
}

TEST_CASE("scaled values are products in double, rounded once") {
  const std::vector<float> values = {0.1F, -3.3F, 1e-30F};
  std::vector<float> out(values.size());
  const double scale = 1.0 / 3;
  read_scaled(Dtype::f32, bytes_of(values), scale, out);
  for (size_t i = 0; i < out.size(); ++i) {
    CHECK(out[i] == static_cast<float>(static_cast<double>(values[i]) * scale));
  }
  const std::vector<double> doubles = {0.1};
  read_scaled(Dtype::f64, bytes_of(doubles), 3, std::span(out).first(1));
  CHECK(out[0] == static_cast<float>(0.1 * 3));
  const std::vector<uint16_t> halves = {0x3e00};  // 1.5
  read_scaled(Dtype::f16, bytes_of(halves), 2, std::span(out).first(1));
  CHECK(out[0] == 3);
}

}  // namespace
}  // namespace mflux::lora
