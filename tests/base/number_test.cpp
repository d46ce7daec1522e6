// SPDX-License-Identifier: MIT
#include "mflux/base/number.h"

#include <limits>
#include <locale>
#include <string>

#include <doctest/doctest.h>

namespace mflux {
namespace {

// A locale in which a half is "0,5" and a thousand "1.000", without one installed.
struct CommaNumbers : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_CASE("a decimal number is read to the nearest double") {
  CHECK(parse_decimal("0") == 0.0);
  CHECK(parse_decimal("12") == 12.0);
  CHECK(parse_decimal("-0.5") == -0.5);
  CHECK(parse_decimal(".5") == 0.5);
  CHECK(parse_decimal("2.") == 2.0);
  CHECK(parse_decimal("007.250") == 7.25);
  CHECK(parse_decimal("1e-3") == 0.001);
  CHECK(parse_decimal("1E+3") == 1000.0);
  CHECK(parse_decimal("0.1") == 0.1);
  CHECK(parse_decimal("0.3000000000000000166") == 0.3);
  CHECK(parse_decimal("1.7976931348623157e308") == std::numeric_limits<double>::max());
  CHECK(parse_decimal("2.2250738585072014e-308") == std::numeric_limits<double>::min());
}

TEST_CASE("what is not all a decimal number is none") {
  for (const std::string text : {"",    "-",   ".",    "-.",    "e5",   "1e",    "1e+",  "+1",
                                 " 1",  "1 ",  "1\n",  "0,8",   "1.5x", "1.2.3", "0x10", "0x1p3",
                                 "inf", "nan", "-inf", "1e999", "1_0",  "--1",   "1'000"}) {
    CAPTURE(text);
    CHECK(!parse_decimal(text));
  }
  CHECK(!parse_decimal(std::string("1\0", 2)));
}

TEST_CASE("a number means the same in every locale") {
  const std::locale before =
      std::locale::global(std::locale(std::locale::classic(), new CommaNumbers));
  CHECK(parse_decimal("0.5") == 0.5);
  CHECK(parse_decimal("1.000") == 1.0);
  CHECK(!parse_decimal("0,5"));
  std::locale::global(before);
}

TEST_CASE("a whole number is all digits, and no larger than asked for") {
  CHECK(parse_whole("0") == 0U);
  CHECK(parse_whole("007") == 7U);
  CHECK(parse_whole("18446744073709551615") == std::numeric_limits<uint64_t>::max());
  CHECK(parse_whole("8", 8) == 8U);
  CHECK(!parse_whole("9", 8));
  for (const std::string text :
       {"",
        "-1",
        "+1",
        "1.0",
        "1e3",
        " 1",
        "1 ",
        "0x1",
        "x",
        "18446744073709551616",
        "99999999999999999999999999"}) {
    CAPTURE(text);
    CHECK(!parse_whole(text));
  }
}

}  // namespace
}  // namespace mflux
