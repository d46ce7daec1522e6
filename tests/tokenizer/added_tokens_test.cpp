// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/added_tokens.h"

#include <doctest/doctest.h>

#include "mflux/tokenizer/unicode.h"
#include "tests/testing.h"

namespace mflux::tokenizer {
namespace {

const Normalizer kLower = [](std::string_view text) { return lowercase(text); };

// "text|5|more": ids between the texts.
std::string split(
    std::map<int32_t, AddedToken> tokens, std::string_view text, bool split_special = false) {
  const AddedTokens added(std::move(tokens), split_special, kLower, "file");
  std::string out;
  added.split(
      text,
      kLower,
      [&](int32_t id) { out += fmt::format("[{}]", id); },
      [&](std::string_view part) { out += part; });
  return out;
}

TEST_CASE("the longest of the added tokens that begin at a place is taken") {
  const std::map<int32_t, AddedToken> tokens = {
      {1, {.content = "<a>", .normalized = false}},
      {2, {.content = "<a><b>", .normalized = false}}};
  CHECK(split(tokens, "X<a>y<a><b><a><a") == "x[1]y[2][1]<a");
  CHECK(split(tokens, "<A>") == "<a>");  // looked for before the text is normalized
  CHECK(split(tokens, "").empty());
}

TEST_CASE("a normalized token is looked for in the normalized text, in its normalized form") {
  const std::map<int32_t, AddedToken> tokens = {{1, {.content = "<A>"}}};
  CHECK(split(tokens, "x<a>Y<A>") == "x[1]y[1]");
}

TEST_CASE("a token can take the spaces around it") {
  const std::map<int32_t, AddedToken> tokens = {
      {1, {.content = "<l>", .left_strip = true}}, {2, {.content = "<r>", .right_strip = true}}};
  CHECK(split(tokens, "a \u00a0<l> b <r>\n\tc") == "a[1] b [2]c");
  CHECK(split(tokens, "<r>  <l>") == "[2][1]");
}

TEST_CASE("a token can insist on being a word") {
  const std::map<int32_t, AddedToken> tokens = {{1, {.content = "cat", .single_word = true}}};
  CHECK(split(tokens, "cat scat cats (cat) cat") == "[1] scat cats ([1]) [1]");
}

TEST_CASE("special tokens can be left in the text") {
  const std::map<int32_t, AddedToken> tokens = {
      {1, {.content = "<s>", .special = true, .normalized = false}},
      {2, {.content = "<t>", .normalized = false}}};
  CHECK(split(tokens, "<s><t>", true) == "<s>[2]");
}

TEST_CASE("two tokens that look alike when normalized are refused") {
  const auto make = [] { split({{1, {.content = "<A>"}}, {2, {.content = "<a>"}}}, ""); };
  CHECK(testing::error_of(make) == "file: the added tokens 1 and 2 both stand for the text '<a>'");
}

TEST_CASE("a token that is normalized to nothing has an id and is never found") {
  const AddedTokens added(
      {{7, {.content = "x"}}}, false, [](std::string_view) { return std::string(); }, "file");
  CHECK(added.find("x") == 7);
}

}  // namespace
}  // namespace mflux::tokenizer
