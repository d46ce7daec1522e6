// SPDX-License-Identifier: MIT
#include "mflux/bake/case_blind.h"

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;

TEST_CASE("paths that differ in case or in how an accent is written are one on a Mac's disk") {
  CHECK(without_case("/models/OUT") == without_case("/models/out"));
  CHECK(without_case("\u00c9t\u00e9") == without_case("\u00e9T\u00c9"));
  CHECK(without_case("e\u0301") == without_case("\u00c9"));
  CHECK(without_case("\u0416") == without_case("\u0436"));
  CHECK(without_case("out-1") != without_case("out_1"));
  CHECK(without_case("e") != without_case("\u00e9"));
  CHECK(without_case("\xff") != without_case("\xfe"));  // no UTF-8: as it is
}

TEST_CASE("names that differ only in case are refused, in folders too") {
  const auto message = [](const std::vector<std::string>& names) {
    return error_of([&] { check_told_apart("model", names); });
  };
  CHECK(contains(message({"a", "b", "A"}), "model: a and A differ only in case"));
  CHECK(contains(message({"Tokenizer/x", "tokenizer/X"}), "Tokenizer/x and tokenizer/X differ"));
  CHECK_NOTHROW(check_told_apart("model", {"a/b", "b/a", "ab", "a/b"}));
}

}  // namespace
}  // namespace mflux
