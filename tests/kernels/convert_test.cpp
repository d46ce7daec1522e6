// SPDX-License-Identifier: MIT
#include "mflux/kernels/convert.h"

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "tests/kernels/float_reference.h"
#include "tests/kernels/numbers.h"
#include "tests/kernels/targets.h"
#include "tests/testing.h"

namespace mflux::kernels::testing {
namespace {

using mflux::testing::contains;
using mflux::testing::error_of;

struct Narrow {
  Dtype dtype;
  FloatLayout layout;
};

constexpr Narrow kNarrow[] = {{Dtype::bf16, kBf16}, {Dtype::f16, kF16}};

std::vector<uint16_t> all_patterns() {
  std::vector<uint16_t> patterns(65536);
  std::iota(patterns.begin(), patterns.end(), uint16_t{0});
  return patterns;
}

std::vector<float> widened(Dtype dtype, const std::vector<uint16_t>& bits) {
  std::vector<float> values(bits.size());
  to_float32(dtype, std::as_bytes(std::span(bits)), values);
  return values;
}

std::vector<uint16_t> narrowed(Dtype dtype, const std::vector<float>& values) {
  std::vector<uint16_t> bits(values.size());
  from_float32(values, dtype, std::as_writable_bytes(std::span(bits)));
  return bits;
}

bool same_number(double a, double b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

// Every value of the format, the middle between it and the next, and the floats around that middle.
std::vector<float> values_around(FloatLayout layout) {
  std::vector<float> values;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const double value = decode(layout, bits);
    const double next = decode(layout, bits + 1);
    values.push_back(static_cast<float>(value));
    if (!std::isfinite(value) || !std::isfinite(next)) continue;
    const auto middle = static_cast<float>((value + next) / 2);
    values.push_back(middle);
    values.push_back(std::nextafter(middle, -kInfinity));
    values.push_back(std::nextafter(middle, kInfinity));
  }
  for (const float value :
       {65504.0F, 65519.996F, 65520.0F, 3.3895314e38F, 3.3961775e38F, 3.4028235e38F, 1e-45F}) {
    values.insert(values.end(), {value, -value});
  }
  return values;
}

TEST_CASE("every bf16 and f16 is read as the number it stands for") {
  for (const Narrow& item : kNarrow) {
    CAPTURE(dtype_name(item.dtype));
    for_each_target([&] {
      const std::vector<float> values = widened(item.dtype, all_patterns());
      size_t wrong = 0;
      for (uint32_t bits = 0; bits < values.size(); ++bits) {
        const double expected = decode(item.layout, bits);
        wrong += same_number(static_cast<double>(values[bits]), expected) ? 0U : 1U;
      }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("every bf16 and f16 survives a round trip through float32") {
  for (const Narrow& item : kNarrow) {
    CAPTURE(dtype_name(item.dtype));
    for_each_target([&] {
      const std::vector<uint16_t> there = narrowed(item.dtype, widened(item.dtype, all_patterns()));
      size_t wrong = 0;
      for (uint32_t bits = 0; bits < there.size(); ++bits) {
        const bool nan = std::isnan(decode(item.layout, bits));
        const bool good = nan ? std::isnan(decode(item.layout, there[bits])) : there[bits] == bits;
        wrong += good ? 0U : 1U;
      }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("float32 is rounded to nearest even, ties, subnormals and overflow included") {
  for (const Narrow& item : kNarrow) {
    CAPTURE(dtype_name(item.dtype));
    const std::vector<float> values = values_around(item.layout);
    for_each_target([&] {
      const std::vector<uint16_t> bits = narrowed(item.dtype, values);
      size_t wrong = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        const bool nan = std::isnan(values[i]);
        const bool good = nan ? std::isnan(decode(item.layout, bits[i]))
                              : bits[i] == encode(item.layout, static_cast<double>(values[i]));
        wrong += good ? 0U : 1U;
      }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("any float32 bits are rounded alike by the reference and by every target") {
  std::mt19937 random(7);
  std::vector<float> values(200'000);
  for (float& value : values) value = std::bit_cast<float>(static_cast<uint32_t>(random()));
  for (const Narrow& item : kNarrow) {
    CAPTURE(dtype_name(item.dtype));
    std::string first;
    for_each_target([&] {
      const std::vector<uint16_t> bits = narrowed(item.dtype, values);
      if (first.empty()) first = bits_of(bits);
      CHECK(bits_of(bits) == first);  // NaNs too
      size_t wrong = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i])) continue;
        const uint32_t expected = encode(item.layout, static_cast<double>(values[i]));
        wrong += bits[i] == expected ? 0U : 1U;
      }
      CHECK(wrong == 0);
    });
  }
}

TEST_CASE("rows of every length are converted to the last element and no further") {
  const std::vector<float> source = wide_numbers(40, 3);
  for (const Narrow& item : kNarrow) {
    CAPTURE(dtype_name(item.dtype));
    for_each_target([&] {
      for (size_t length = 0; length <= 40; ++length) {
        CAPTURE(length);
        std::vector<uint16_t> bits(41, 0xABCD);
        from_float32(
            std::span(source).first(length),
            item.dtype,
            std::as_writable_bytes(std::span(bits).first(length)));
        std::vector<float> back(41, 77.0F);
        to_float32(
            item.dtype,
            std::as_bytes(std::span(bits).first(length)),
            std::span(back).first(length));
        for (size_t i = 0; i < length; ++i) {
          const uint32_t expected = encode(item.layout, static_cast<double>(source[i]));
          REQUIRE(bits[i] == expected);
          REQUIRE(static_cast<double>(back[i]) == decode(item.layout, expected));
        }
        CHECK(bits[length] == 0xABCD);
        CHECK(back[length] == 77.0F);
      }
    });
  }
}

TEST_CASE("values at odd addresses are read and written") {
  const std::vector<float> source = wide_numbers(37, 4);
  for (const Narrow& item : kNarrow) {
    for_each_target([&] {
      std::vector<std::byte> bytes(1 + 2 * source.size());
      from_float32(source, item.dtype, std::span(bytes).subspan(1));
      std::vector<float> back(source.size());
      to_float32(item.dtype, std::span(bytes).subspan(1), back);
      for (size_t i = 0; i < source.size(); ++i) {
        const uint32_t expected = encode(item.layout, static_cast<double>(source[i]));
        CHECK(static_cast<double>(back[i]) == decode(item.layout, expected));
      }
    });
  }
}

TEST_CASE("float8 is read as OCP defines it") {
  std::vector<uint8_t> patterns(256);
  std::iota(patterns.begin(), patterns.end(), uint8_t{0});
  std::vector<float> e4m3(256);
  std::vector<float> e5m2(256);
  to_float32(Dtype::f8_e4m3, std::as_bytes(std::span(patterns)), e4m3);
  to_float32(Dtype::f8_e5m2, std::as_bytes(std::span(patterns)), e5m2);
  for (uint32_t bits = 0; bits < 256; ++bits) {
    CAPTURE(bits);
    const bool nan = (bits & 0x7F) == 0x7F;  // E4M3 has no infinity and one NaN per sign
    CHECK(std::isnan(e4m3[bits]) == nan);
    if (!nan) CHECK(same_number(static_cast<double>(e4m3[bits]), decode(kE4m3, bits, false)));
    CHECK(same_number(static_cast<double>(e5m2[bits]), decode(kE5m2, bits)));
  }
  CHECK(e4m3[0x7E] == 448.0F);
  CHECK(e5m2[0x7B] == 57344.0F);
}

TEST_CASE("float64 is rounded to float32, float32 is copied") {
  const std::vector<double> wide = {0.1, -0.0, 1e300, -1e-60, 1 + 0x1p-24, 1 + 0x1p-24 + 0x1p-40};
  std::vector<float> out(wide.size());
  to_float32(Dtype::f64, std::as_bytes(std::span(wide)), out);
  const std::vector<float> expected = {
      0.1F, -0.0F, std::numeric_limits<float>::infinity(), -0.0F, 1.0F, 1 + 0x1p-23F};
  CHECK(bits_of(out) == bits_of(expected));

  const std::vector<float> same = wide_numbers(33, 5);
  std::vector<float> copy(same.size());
  to_float32(Dtype::f32, std::as_bytes(std::span(same)), copy);
  CHECK(bits_of(copy) == bits_of(same));
  std::vector<float> again(same.size());
  from_float32(same, Dtype::f32, std::as_writable_bytes(std::span(again)));
  CHECK(bits_of(again) == bits_of(same));
}

TEST_CASE("integers are not read or written as floating point") {
  std::vector<std::byte> bytes(8);
  std::vector<float> one(1);
  CHECK(contains(error_of([&] { to_float32(Dtype::u32, std::span(bytes).first(4), one); }), "U32"));
  CHECK(contains(
      error_of([&] { to_float32(Dtype::boolean, std::span(bytes).first(1), one); }), "BOOL"));
  CHECK(contains(error_of([&] { from_float32(one, Dtype::i64, bytes); }), "I64"));
  CHECK(contains(
      error_of([&] { from_float32(one, Dtype::f8_e4m3, std::span(bytes).first(1)); }), "F8_E4M3"));
}

TEST_CASE("one NaN or infinity anywhere in a row is seen") {
  for_each_target([&] {
    for (size_t length = 0; length <= 40; ++length) {
      CAPTURE(length);
      std::vector<float> values(length, std::numeric_limits<float>::max());
      CHECK(all_finite(values));
      for (size_t i = 0; i < length; ++i) {
        for (const float bad :
             {std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity(),
              std::numeric_limits<float>::quiet_NaN(),
              -std::numeric_limits<float>::quiet_NaN(),
              std::bit_cast<float>(0x7F800001U)}) {
          std::vector<float> damaged = values;
          damaged[i] = bad;
          REQUIRE_FALSE(all_finite(damaged));
        }
      }
    }
  });
}

TEST_CASE("a transposition is undone by the one with swapped numbers") {
  const std::vector<float> row = wide_numbers(3 * 5, 6);
  std::vector<float> turned(row.size());
  transpose(row, 3, 5, turned);
  CHECK(turned[1 * 3 + 2] == row[2 * 5 + 1]);
  CHECK(turned[4 * 3 + 0] == row[0 * 5 + 4]);
  std::vector<float> back(row.size());
  transpose(turned, 5, 3, back);
  CHECK(back == row);
}

}  // namespace
}  // namespace mflux::kernels::testing
