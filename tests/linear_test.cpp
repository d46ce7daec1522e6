// SPDX-License-Identifier: MIT
// Files made to be slow: what reads them takes time in proportion to their size, or refuses them by
// a limit that it names. Each took many times as long as it may.
#include <ctime>
#include <functional>
#include <string>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mflux/bake/receipt.h"
#include "mflux/base/json.h"
#include "mflux/lora/adapter_config.h"
#include "mflux/lora/block_scales.h"
#include "mflux/report/details.h"
#include "tests/lora/lora_files.h"
#include "tests/tiny_save.h"
#include "tests/tokenizer/folders.h"

namespace mflux {
namespace {

using testing::contains;
using testing::error_of;
using testing::TinySave;
using testing::TokenizerFolder;

// What the call says, which must have come soon: it takes milliseconds of a processor.
std::string soon(const std::function<void()>& call) {
  constexpr std::clock_t kSoon = 5 * CLOCKS_PER_SEC;
  const std::clock_t start = std::clock();
  std::string said = error_of(call);
  CHECK(std::clock() - start < kSoon);
  return said;
}

std::string join(
    size_t count, std::string_view between, const std::function<std::string(size_t)>& of) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += (i == 0 ? "" : std::string(between)) + of(i);
  return all;
}

std::string config_error(const std::string& text) {
  std::string error;
  soon([&] { error = lora::parse_adapter_config(text).error; });
  return error;
}

TEST_CASE("a receipt of many keys is read in linear time") {
  const TinySave tiny;
  save(tiny.options());
  const std::string text = testing::read_file(tiny.folder / "out/bake.json");
  const std::string many =
      join(130'000, ",\n", [](size_t i) { return fmt::format(R"("key {:06}": 0)", i); });
  const auto with = [&](std::string text_of, const std::string& key) {
    const std::string begin = "\"" + key + "\": {";
    const size_t at = text_of.find(begin);
    REQUIRE(at != text_of.npos);
    return text_of.insert(at + begin.size(), many + ",");
  };
  CHECK(contains(
      soon([&] { parse_receipt("{" + many + "," + text.substr(1), "r"); }),
      "r: not a receipt: its member 'key 000000' is unknown"));
  CHECK(soon([&] { parse_receipt(with(text, "options"), "r"); }) == "");
  ReportFacts facts;
  const std::string said = soon([&] { report::read_receipt(with(text, "kept"), "r", facts); });
  CHECK(contains(said, "r: not a receipt: kept names LoRA 'key 000000', but there are 1"));
}

TEST_CASE("a LoRA's configuration is read in linear time, or refused by a limit") {
  const auto entry = [](size_t i) { return fmt::format(R"(".*a{}.*": 1)", i); };
  const auto object = [&](std::string_view key, const std::string& inner) {
    return fmt::format(R"({{"lora_alpha": 8, "{}": {{{}}}}})", key, inner);
  };
  CHECK(contains(
      config_error(object("alpha_pattern", join(3000, ",", entry))),
      "has patterns of more than 3000 steps at '.*a"));
  CHECK(contains(
      config_error(object("rank_pattern", join(6000, ",", entry))),
      "has more than 5000 entries in 'rank_pattern'"));
  CHECK(contains(
      config_error(
          "{" + join(60'000, ",", [](size_t i) { return fmt::format("\"c{}.r\":1", i); }) + "}"),
      "states more than 1000 values"));
  CHECK(contains(
      config_error(
          "{" + join(500, ",", [](size_t i) { return fmt::format("\"c{}.r\":1", i); }) + "}"),
      "is about more than 100 components"));
  CHECK(contains(config_error(std::string(150'000, '[')), "nests more than 64"));
  CHECK(contains(
      config_error(R"({"x": ")" + std::string(2'000'000, 'x') + R"("})"), "expected at most"));
  // What does not count may be as long as it likes.
  const auto module = [](size_t i) { return fmt::format("\"m{}\"", i); };
  CHECK(
      config_error(R"({"lora_alpha": 8, "target_modules": [)" + join(90'000, ",", module) + "]}") ==
      "");
  CHECK(
      config_error(
          "{" + join(60'000, ",", [](size_t i) { return fmt::format("\"k{}\":{{}}", i); }) + "}") ==
      "");
}

TEST_CASE("patterns of a configuration keep their order, and the last of two values counts") {
  const lora::ParsedConfig parsed = lora::parse_adapter_config(
      R"({"lora_alpha": 1, "lora_alpha": 2, "r": 4,
          "alpha_pattern": {"q": 9},
          "alpha_pattern": {"z.q": 3, "q": 5, "a.*q": 6, "z.q": 7}})");
  REQUIRE(parsed.error == "");
  CHECK(parsed.config.find("", "z.q")->alpha == 7);
  CHECK(parsed.config.find("", "a.q")->alpha == 5);
  CHECK(parsed.config.find("", "abq")->alpha == 6);
  CHECK(parsed.config.find("", "k")->alpha == 2);
}

TEST_CASE("block scales are settled in linear time, or refused by a limit") {
  const auto part = [](size_t i) {
    return i % 2 == 0 ? std::string("*=1") : std::string("double=0.5");
  };
  CHECK(soon([&] { lora::BlockScales(join(500, ",", part), lora::testing::flux()); }) == "");
  CHECK(contains(
      soon([&] { lora::BlockScales(join(25'000, ",", part), lora::testing::flux()); }),
      "--lora-block-scales: 25000 parts, expected at most 500"));
}

TEST_CASE("the files of a tokenizer are read in linear time, or refused by a limit") {
  const TokenizerFolder folder("clip");
  const auto config = folder / "tokenizer_config.json";
  const auto with = [&](const std::string& inner) {
    const std::string text =
        testing::read_file(testing::tokenizer_data("clip/tokenizer_config.json"));
    testing::write_file(config, text.substr(0, text.rfind('}')) + "," + inner + "}");
    return soon([&] { tokenizer::Tokenizer::open(folder.path()); });
  };
  const auto token = [](size_t i) { return fmt::format("\"t{}\"", i); };
  CHECK(with("\"additional_special_tokens\":[" + join(2000, ",", token) + "]") == "");
  CHECK(contains(
      with("\"additional_special_tokens\":[" + join(4000, ",", token) + "]"),
      "tokenizer_config.json: more than 2000 added tokens"));
  CHECK(contains(
      with(join(4000, ",", [](size_t i) { return fmt::format("\"r{}_token\":\"t{}\"", i, i); })),
      "tokenizer_config.json: more than 2000 added tokens"));
  CHECK(contains(
      with(
          "\"added_tokens_decoder\":{" +
          join(5000, ",", [](size_t i) { return fmt::format("\"{}\":\"t{}\"", 1000 + i, i); }) +
          "}"),
      "tokenizer_config.json: more than 2000 added tokens"));
  CHECK(contains(
      with("\"bos_token\":\"" + std::string(300, 'x') + "\""),
      "has 300 bytes, expected at most 256"));
  testing::write_file(
      folder / "merges.txt", join(200'000, "\n", [](size_t) { return std::string("h e"); }));
  CHECK(contains(with("\"a\":1"), "merges.txt: more than"));
}

TEST_CASE("a text of combining marks is refused by a limit, not sorted for hours") {
  const tokenizer::Tokenizer clip = tokenizer::Tokenizer::open(testing::tokenizer_data("clip"));
  const auto marks = [](size_t count) {
    return "a" + join(count, "", [](size_t) { return std::string("\u0301\u0316"); });
  };
  CHECK(soon([&] { clip.encode(marks(400)); }) == "");
  CHECK(contains(
      soon([&] { clip.encode(marks(50'000)); }), "more than 1000 combining marks in a row"));
}

TEST_CASE("numbers of a receipt that no integer can hold are refused by name") {
  const TinySave tiny;
  save(tiny.options());
  const auto good = nlohmann::json::parse(testing::read_file(tiny.folder / "out/bake.json"));
  for (const char* place :
       {"/inputs/0/bytes",
        "/outputs/0/bytes",
        "/loras/0/layers",
        "/options/max_shard_size",
        "/options/quantize",
        "/loras/0/bytes"}) {
    for (const char* number : {"1e300", "-1", "1.5", "18446744073709551616"}) {
      CAPTURE(place);
      CAPTURE(number);
      nlohmann::json wrong = good;
      wrong[nlohmann::json::json_pointer(place)] = nlohmann::json::parse(number);
      const std::string said = error_of([&] { parse_receipt(wrong.dump(), "x/bake.json"); });
      CHECK(contains(said, "x/bake.json: not a receipt: "));
      CHECK(contains(said, "expected a whole number"));
    }
  }
}

}  // namespace
}  // namespace mflux
