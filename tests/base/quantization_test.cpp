// SPDX-License-Identifier: MIT
#include "mflux/base/quantization.h"

#include <string>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;

TEST_CASE("every mode has its own bits and group where none are asked for") {
  CHECK(make_quant_format(QuantMode::affine, {}, {}) == QuantFormat{QuantMode::affine, 8, 64});
  CHECK(make_quant_format(QuantMode::mxfp4, {}, {}) == QuantFormat{QuantMode::mxfp4, 4, 32});
  CHECK(make_quant_format(QuantMode::mxfp8, {}, {}) == QuantFormat{QuantMode::mxfp8, 8, 32});
  CHECK(make_quant_format(QuantMode::nvfp4, {}, {}) == QuantFormat{QuantMode::nvfp4, 4, 16});
  CHECK(make_quant_format(QuantMode::nvfp4, 4, 16) == QuantFormat{QuantMode::nvfp4, 4, 16});
}

TEST_CASE("formats that MLX does not have are refused with a list of those it has") {
  const auto error = [](QuantMode mode, std::optional<int> bits, std::optional<int> group) {
    return error_of([&] { make_quant_format(mode, bits, group); });
  };
  for (const int bits : {-1, 0, 1, 7, 9, 16}) {
    CHECK(contains(error(QuantMode::affine, bits, {}), "choose 2, 3, 4, 5, 6 or 8"));
  }
  for (const int group : {0, 16, 48, 256}) {
    CHECK(contains(error(QuantMode::affine, 4, group), "32, 64, 128"));
  }
  CHECK(contains(error(QuantMode::mxfp4, 8, {}), "mxfp4 is always 4 bits with a group of 32"));
  CHECK(contains(error(QuantMode::mxfp8, {}, 64), "8 bits and group 64 were asked for"));
  CHECK(contains(error(QuantMode::nvfp4, {}, 32), "nvfp4 is always 4 bits with a group of 16"));
}

TEST_CASE("a refused format is wrong usage") {
  try {
    make_quant_format(QuantMode::affine, 7, {});
    FAIL("7 bits were accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
  }
}

TEST_CASE("modes are known by their names") {
  for (const QuantMode mode :
       {QuantMode::affine, QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4}) {
    CHECK(parse_quant_mode(quant_mode_name(mode)) == mode);
  }
  CHECK(parse_quant_mode("Affine") == std::nullopt);
  CHECK(parse_quant_mode("") == std::nullopt);
}

TEST_CASE("a row's words and scales are counted") {
  const QuantFormat format{QuantMode::affine, 3, 64};
  CHECK(format.packed_columns(256) == 24);
  CHECK(format.groups(256) == 4);
  CHECK(format.fits(256));
  CHECK_FALSE(format.fits(255));
  CHECK_FALSE(format.fits(0));
  CHECK(to_string(format) == "3-bit affine, group 64");
  CHECK(format.has_biases());
  CHECK_FALSE(make_quant_format(QuantMode::mxfp8, {}, {}).has_biases());
}

}  // namespace
}  // namespace mflux
