// SPDX-License-Identifier: MIT
#include "mflux/models/config.h"

#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/base/error.h"
#include "tests/testing.h"

namespace mflux::models {
namespace {

using mflux::testing::contains;
using mflux::testing::error_of;

Config config(const std::string& text) {
  return {text, "part/config.json"};
}

TEST_CASE("values that are there are read, those that are not or are null are none") {
  const Config read = config(
      R"({"count": 3, "real": -1.5, "whole": 2, "flag": true, "text": "gelu", "wholes": [0, 7],
          "reals": [1, 0.5], "null": null, "section": {"count": 4, "inner": {"count": 5}}})");
  CHECK(read.count("count") == 3);
  CHECK(read.real("real") == -1.5);
  CHECK(read.real("whole") == 2);
  CHECK(read.flag("flag") == true);
  CHECK(read.text("text") == "gelu");
  CHECK(read.wholes("wholes") == std::vector{0, 7});
  CHECK(read.reals("reals") == std::vector{1.0F, 0.5F});
  CHECK(read.count("section/count") == 4);
  CHECK(read.count("section/inner/count") == 5);
  for (const std::string_view key : {"null", "missing", "missing/count", "section/missing"}) {
    CAPTURE(key);
    CHECK_FALSE(read.count(key));
    CHECK_FALSE(read.real(key));
    CHECK_FALSE(read.flag(key));
    CHECK_FALSE(read.text(key));
    CHECK_FALSE(read.wholes(key));
    CHECK_FALSE(read.reals(key));
  }
  CHECK_FALSE(config("").count("count"));
}

TEST_CASE("a language model's values are in text_config, its sections there or at the top") {
  const Config nested = config(
      R"({"count": 1, "vision": {"count": 2}, "text_config": {"real": 0.5, "rope": {"count": 3}}})");
  CHECK_FALSE(nested.count("count"));
  CHECK(nested.real("real") == 0.5);
  CHECK(nested.count("rope/count") == 3);
  CHECK(nested.count("vision/count") == 2);
  CHECK(config(R"({"text_config": null, "count": 1})").count("count") == 1);
}

TEST_CASE(
    "every value of another kind is refused with file, key, what is there and what should be") {
  const std::vector<std::string> all = {
      R"("64")",
      "true",
      "{}",
      "[]",
      "-1",
      "0",
      "1.5",
      "1e300",
      "1000001",
      "1180591620717411303424",
      R"(["a"])",
      "[1,-1]",
      "[1.5]",
      "[1e300]",
      "[null]",
      "[1000001]"};
  struct Getter {
    std::function<void(const Config&)> get;
    const char* expected;
    std::vector<std::string> accepted;
  };
  const std::vector<Getter> getters = {
      {[](const Config& c) { c.count("key"); }, "a number from 1 to 1000000", {}},
      {[](const Config& c) { c.count("key", 2'000'000); },
       "a number from 1 to 2000000",
       {"1000001"}},
      {[](const Config& c) { c.real("key"); },
       "a number",
       {"-1", "0", "1.5", "1000001", "1180591620717411303424"}},
      {[](const Config& c) { c.flag("key"); }, "true or false", {"true"}},
      {[](const Config& c) { c.text("key"); }, "a text", {R"("64")"}},
      {[](const Config& c) { c.wholes("key"); }, "a list of numbers from 0 to 1000000", {"[]"}},
      {[](const Config& c) { c.reals("key"); },
       "a list of numbers",
       {"[]", "[1,-1]", "[1.5]", "[1000001]"}},
  };
  for (const Getter& getter : getters) {
    for (const std::string& value : all) {
      for (const char* key : {"key", "text_config"}) {
        CAPTURE(getter.expected);
        CAPTURE(value);
        const bool nested = std::string_view(key) == "text_config";
        const std::string object = R"({"key": )" + value + "}";
        const Config read = config(nested ? R"({"text_config": )" + object + "}" : object);
        const std::string message = error_of([&] { getter.get(read); });
        if (std::ranges::find(getter.accepted, value) != getter.accepted.end()) {
          CHECK(message == "");
        } else {
          CHECK_MESSAGE(message.starts_with("part/config.json: key is "), message);
          CHECK_MESSAGE(message.ends_with(std::string(", expected ") + getter.expected), message);
        }
      }
    }
  }
}

TEST_CASE("what is no object is refused, whole files and sections") {
  for (const std::string text : {"[]", "3", "\"text\"", "null", "nonsense"}) {
    CAPTURE(text);
    CHECK(contains(error_of([&] { config(text); }), "part/config.json"));
  }
  for (const std::string value : {"[1]", "3", "\"text\"", "true"}) {
    CAPTURE(value);
    const std::string wrong = " is " + value + ", expected an object";
    CHECK(error_of([&] {
            config(R"({"text_config": )" + value + "}");
          }) == "part/config.json: text_config" + wrong);
    const Config read = config(R"({"section": )" + value + "}");
    CHECK(error_of([&] { read.count("section/count"); }) == "part/config.json: section" + wrong);
  }
}

TEST_CASE("widths and bases of rotary positions are read as strictly") {
  const std::string file = "part/config.json";
  CHECK(config_head_width(R"({"hidden_size": 128, "num_attention_heads": 4})", "", file) == 32);
  CHECK(config_head_width(R"({"v": {"hidden_size": 128, "num_heads": 2}})", "v", file) == 64);
  CHECK_FALSE(config_head_width(R"({"hidden_size": 128})", "", file));
  CHECK(config_rope_base(R"({"rope_theta": 7})", "", file) == 7);
  CHECK(config_rope_base(R"({"rope_parameters": {"rope_theta": 8}})", "", file) == 8);
  CHECK(config_rope_base(R"({"v": {"rope_parameters": {"rope_theta": 9}}})", "v", file) == 9);
  CHECK_FALSE(config_rope_base("{}", "", file));
  CHECK(contains(
      error_of([&] { config_head_width(R"({"hidden_size": "128"})", "", file); }),
      "part/config.json: hidden_size is \"128\", expected a number from 1"));
  CHECK(contains(
      error_of([&] { config_head_width(R"({"v": {"num_heads": 0}})", "v", file); }),
      "part/config.json: v/num_heads is 0, expected a number from 1"));
  CHECK(contains(
      error_of([&] { config_rope_base(R"({"rope_theta": "7"})", "", file); }),
      "part/config.json: rope_theta is \"7\", expected a number"));
}

TEST_CASE("a file that is not there says nothing") {
  const mflux::testing::TempDir folder;
  CHECK_FALSE(read_config(folder / "config.json").count("count"));
  mflux::testing::write_file(folder / "config.json", R"({"count": "3"})");
  const std::string file = (folder / "config.json").string();
  CHECK(error_of([&] {
          read_config(folder / "config.json").count("count");
        }) == file + ": count is \"3\", expected a number from 1 to 1000000");
}

}  // namespace
}  // namespace mflux::models
