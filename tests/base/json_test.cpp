// SPDX-License-Identifier: MIT
#include "mflux/base/json.h"

#include <limits>
#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/testing.h"

namespace mflux {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;
using testing::TempDir;

std::string refusal(std::string_view text, JsonLimits limits = {}) {
  return error_of([&] { parse_json(text, "x.json", limits); });
}

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST_CASE("JSON is read as it always was") {
  CHECK(parse_json(R"({"a": [1, -2, 1.5, null, true, "\u00e9"]})", "x")["a"].size() == 6);
  CHECK(parse_json("\xef\xbb\xbf{}", "x").is_object());
  CHECK(parse_json(R"({"a": 1, "a": 2})", "x") == json{{"a", 2}});
  CHECK(parse_json(R"("[[[[")", "x") == "[[[[");
  CHECK(parse_json(R"({"\"[": "\\"})", "x") == json{{"\"[", "\\"}});
  const TempDir folder;
  testing::write_file(folder / "a.json", "[7]");
  CHECK(read_json(folder / "a.json") == json{7});
}

TEST_CASE("what is not JSON is refused with its name and the byte") {
  CHECK(refusal("") == "x.json is not valid JSON at its byte 1");
  CHECK(refusal("{\"a\": 1,}") == "x.json is not valid JSON at its byte 9");
  CHECK(refusal("[1] 2") == "x.json is not valid JSON at its byte 5");
  CHECK(refusal("[NaN]") == "x.json is not valid JSON at its byte 2");
  CHECK(refusal("{\"a\": \"\xff\"}") == "x.json is not valid JSON: byte 7 is not UTF-8");
  CHECK(refusal("\"\xed\xa0\x80\"") == "x.json is not valid JSON: byte 1 is not UTF-8");
  CHECK(refusal(std::string("{}\0{", 4)) == "x.json is not valid JSON: byte 2 is zero");
  CHECK(refusal("[1e999]") == "x.json is not valid JSON: a number is too large");
  CHECK(!find_json("a plain text"));
  CHECK(find_json("7") == json(7));
}

TEST_CASE("JSON that nests deeper than any file does is refused, whatever it nests") {
  constexpr size_t kDeep = 150'000;
  for (const std::string open : {"[", "{\"a\":", "[{\"\":[", " [ ", "[1,["}) {
    CAPTURE(open);
    CHECK(contains(refusal(repeated(open, kDeep)), "x.json nests more than 64 lists and objects"));
    CHECK(!find_json(repeated(open, kDeep)));
    CHECK(contains(json_problem(repeated(open, kDeep)), "nests more than 64"));
  }
  CHECK(contains(refusal(repeated("[", 65)), "at its byte 64"));
  CHECK(refusal(repeated("[", 64) + repeated("]", 64)) == "");
  CHECK(refusal(repeated("[]", 1) + "") == "");
  CHECK(contains(refusal("[[[1]]]", {.depth = 2}), "at its byte 2"));
}

TEST_CASE("JSON is no larger than its kind of file, and a file not even read") {
  CHECK(
      contains(refusal("[1234]", {.bytes = 5}), "x.json has 6 bytes of JSON, expected at most 5"));
  const TempDir folder;
  testing::write_file(folder / "a.json", "");
  std::filesystem::resize_file(folder / "a.json", uint64_t{1} << 40);
  CHECK(contains(
      error_of([&] { read_json(folder / "a.json"); }),
      "a.json has 1099511627776 bytes of JSON, expected at most 1000000"));
}

TEST_CASE("JSON that would take many times its bytes of memory is refused") {
  for (const std::string item : {"[],", "{},", "0,", "\"\",", "{\"\":0},", "[[],[]],"}) {
    CAPTURE(item);
    const size_t times = 900'000 / item.size();
    CHECK(
        contains(refusal("[" + repeated(item, times) + "0]"), "bytes of memory, expected at most"));
  }
  std::string members;
  for (int i = 0; i < 90'000; ++i) members += fmt::format("\"{}\":0,", i);
  CHECK(contains(refusal("{" + members + "\"\":0}"), "bytes of memory, expected at most"));
  // The entries of a published vocabulary are about this long.
  members.clear();
  for (int i = 100'000; i < 150'000; ++i) members += fmt::format("\"{}</w>\":{},", i, i);
  CHECK(refusal("{" + members + "\"\":0}", kLongJson) == "");
  CHECK(refusal("[" + repeated("0,", 5'000) + "0]") == "");
}

TEST_CASE("numbers are taken as what they are, or not at all") {
  CHECK(whole_number(7U, 7) == 7U);
  CHECK(whole_number(std::numeric_limits<uint64_t>::max(), UINT64_MAX) == UINT64_MAX);
  CHECK(whole_number(9'007'199'254'740'993U, UINT64_MAX) == 9'007'199'254'740'993U);
  for (const char* text :
       {"8",
        "-1",
        "1.5",
        "1.0",
        "1e300",
        "1e3",
        "18446744073709551616",
        "null",
        "true",
        "\"7\"",
        "[7]"}) {
    CAPTURE(text);
    CHECK(!whole_number(json::parse(text), 7));
  }
  CHECK(float_number(1.5) == 1.5F);
  CHECK(float_number(-3) == -3.0F);
  for (const char* text : {"1e300", "-1e300", "null", "\"1\"", "[1]"}) {
    CAPTURE(text);
    CHECK(!float_number(json::parse(text)));
  }
}

TEST_CASE("an excerpt is short, and ASCII") {
  CHECK(excerpt(json{{"a", 1}}) == "{\"a\":1}");
  CHECK(excerpt("\u00e9") == "\"\\u00e9\"");
  CHECK(excerpt(std::string(100, 'x')) == "\"" + std::string(59, 'x') + "...");
}

}  // namespace
}  // namespace mflux
