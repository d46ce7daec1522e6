// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/words.h"

#include <string>

#include <doctest/doctest.h>

namespace mflux::tokenizer {
namespace {

using Words = std::vector<std::string_view>;

TEST_CASE("CLIP's words are letters, single digits, symbols and contractions") {
  CHECK(clip_words("").empty());
  CHECK(clip_words(" \n ").empty());
  CHECK(clip_words("a cat, 12 dogs!!") == Words{"a", "cat", ",", "1", "2", "dogs", "!!"});
  CHECK(clip_words("it's they'll") == Words{"it", "'s", "they", "'ll"});
  CHECK(clip_words("it'S") == Words{"it", "'", "S"});
  CHECK(clip_words("''s") == Words{"''", "s"});
  CHECK(clip_words("a\u00a0b") == Words{"a", "b"});
  CHECK(clip_words("x<|endoftext|>") == Words{"x", "<|", "endoftext", "|>"});
  CHECK(clip_words("!<|endoftext|>") == Words{"!<|", "endoftext", "|>"});
}

TEST_CASE("Qwen2's words keep the space before them, and every character") {
  CHECK(qwen2_words("").empty());
  CHECK(qwen2_words("a cat") == Words{"a", " cat"});
  CHECK(qwen2_words("it's IT'S don'T") == Words{"it", "'s", " IT", "'S", " don", "'T"});
  CHECK(qwen2_words("'\u017f") == Words{"'\u017f"});  // the long s folds to s
  CHECK(qwen2_words("12") == Words{"1", "2"});
  CHECK(qwen2_words(" 1") == Words{" ", "1"});
  CHECK(qwen2_words("(word") == Words{"(word"});
  CHECK(qwen2_words("\tword") == Words{"\tword"});
  CHECK(qwen2_words("a  b") == Words{"a", " ", " b"});
  CHECK(qwen2_words("a   1") == Words{"a", "  ", " ", "1"});
  CHECK(qwen2_words("a  ") == Words{"a", "  "});
  CHECK(qwen2_words("a \n \n  b") == Words{"a", " \n \n", " ", " b"});
  CHECK(qwen2_words("a!\n\nb") == Words{"a", "!\n\n", "b"});
  CHECK(qwen2_words(" !?\r\n") == Words{" !?\r\n"});
  CHECK(qwen2_words("\r\nb") == Words{"\r\n", "b"});
  CHECK(qwen2_words("e\u0301f") == Words{"e", "\u0301f"});
}

}  // namespace
}  // namespace mflux::tokenizer
