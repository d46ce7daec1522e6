// SPDX-License-Identifier: MIT
#include "mflux/lora/pattern.h"

#include <string>

#include <doctest/doctest.h>

namespace mflux::lora {
namespace {

TEST_CASE("a pattern matches a module whole or from one of its dots, as PEFT's do") {
  const struct {
    std::string pattern;
    std::string module;
    bool matches;
  } kCases[] = {
      {"to_q", "to_q", true},
      {"to_q", "blocks.0.attn.to_q", true},
      {"attn.to_q", "blocks.0.attn.to_q", true},
      {"to_q", "blocks.0.attn.add_to_q", false},
      {"to_q", "blocks.0.attn.to_q.0", false},
      {"attn", "blocks.0.attn.to_q", false},
      {"attn.to_q", "blocks.0.attn_to_q", true},  // '.' is any character
      {"^blocks.0.attn.to_q", "blocks.0.attn.to_q", true},
      {"to_q$", "blocks.0.attn.to_q", true},
      {R"(blocks\.\d+\.attn\.to_(q|k))", "blocks.12.attn.to_k", true},
      {R"(blocks\.\d+\.attn\.to_(q|k))", "blocks.12.attn.to_v", false},
      {R"(.*to_[qk])", "blocks.1.attn.to_q", true},
      {R"(blocks\.[0-3]\..*)", "blocks.3.attn.to_q", true},
      {R"(blocks\.[0-3]\..*)", "blocks.4.attn.to_q", false},
      {R"(blocks\.[^0-3]\..*)", "blocks.4.attn.to_q", true},
      {"a{2,3}", "aa", true},
      {"a{2,3}", "aaaa", false},
      {"ab?c", "ac", true},
      {"(ab)+", "abab", true},
      {"(ab)+", "abba", false},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.pattern);
    CAPTURE(c.module);
    const auto pattern = Pattern::parse(c.pattern);
    REQUIRE(pattern);
    CHECK(pattern->matches(c.module) == c.matches);
  }
}

TEST_CASE("what is no pattern of the language is not read") {
  for (const std::string text :
       {"(", ")", "a)", "[a", "*", R"(\b)", R"(\1)", "(?=a)", "a{3,2}", "a{99999}", "\\"}) {
    CAPTURE(text);
    CHECK_FALSE(Pattern::parse(text));
  }
  CHECK_FALSE(Pattern::parse(std::string(100'000, '(')));
}

TEST_CASE("a pattern made to explode does not") {
  const auto pattern = Pattern::parse("(a*)*(a*)*(a*)*b");
  if (pattern) CHECK_FALSE(pattern->matches(std::string(5000, 'a')));
}

}  // namespace
}  // namespace mflux::lora
