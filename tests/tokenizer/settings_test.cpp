// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/settings.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/folders.h"
#include "tests/tokenizer/folders.h"

namespace mflux::tokenizer {
namespace {

using testing::contains;
using testing::replace_in;
using testing::TokenizerFolder;
using testing::write_file;

// tokenizer_config.json with one value changed.
void set(const TokenizerFolder& folder, const char* key, const nlohmann::json& value) {
  const auto path = folder / "tokenizer_config.json";
  nlohmann::json config = nlohmann::json::parse(testing::read_file(path));
  config[key] = value;
  write_file(path, config.dump());
}

TEST_CASE("without added_tokens_decoder the older files name the special tokens") {
  const TokenizerFolder folder("qwen");
  const Tokenizer before = Tokenizer::open(folder.path());
  replace_in(folder / "tokenizer_config.json", "\"added_tokens_decoder\"", "\"unused\"");
  const Tokenizer after = Tokenizer::open(folder.path());
  for (const char* token : {"<|endoftext|>", "<|im_start|>", "<|image_pad|>", "<tool_call>"})
    CHECK(after.find(token) == before.find(token));
  CHECK(
      after.encode("<|im_start|>a<tool_call>").ids ==
      before.encode("<|im_start|>a<tool_call>").ids);
}

TEST_CASE("a special token that no file numbers gets the next free id") {
  const TokenizerFolder folder("qwen");
  const int32_t size = Tokenizer::open(folder.path()).size();
  set(folder, "image_token", "<|picture|>");
  const Tokenizer qwen = Tokenizer::open(folder.path());
  CHECK(qwen.find("<|picture|>") == size);
  CHECK(qwen.size() == size + 1);
}

TEST_CASE("added tokens that contradict the vocabulary are refused") {
  const TokenizerFolder folder("qwen");
  SUBCASE("another id than the next") {
    replace_in(folder / "tokenizer_config.json", "\"428\":", "\"500\":");
    CHECK(contains(folder.error(), "'</tool_call>' should have the id 500, but"));
  }
  SUBCASE("no number") {
    replace_in(folder / "tokenizer_config.json", "\"428\":", "\"x\":");
    CHECK(contains(folder.error(), "added_tokens_decoder has the id 'x'"));
  }
  SUBCASE("too large a number") {
    replace_in(folder / "tokenizer_config.json", "\"428\":", "\"99999999\":");
    CHECK(contains(folder.error(), "added_tokens_decoder has the id '99999999'"));
  }
  SUBCASE("two of one id") {
    replace_in(folder / "tokenizer_config.json", "\"added_tokens_decoder\"", "\"unused\"");
    replace_in(folder / "added_tokens.json", "428", "427");
    CHECK(contains(folder.error(), "have the id 427"));
  }
  SUBCASE("no token") {
    set(folder, "added_tokens_decoder", {{"420", {{"text", "a"}}}});
    CHECK(contains(folder.error(), "is not a token"));
  }
  SUBCASE("no object") {
    set(folder, "added_tokens_decoder", "x");
    CHECK(contains(folder.error(), "added_tokens_decoder is not an object"));
  }
  SUBCASE("no list") {
    set(folder, "extra_special_tokens", 5);
    CHECK(contains(folder.error(), "5 is not a list of tokens"));
  }
}

TEST_CASE("settings of a wrong value are refused") {
  const TokenizerFolder folder("t5");
  SUBCASE("padding side") {
    set(folder, "padding_side", "top");
    CHECK(contains(folder.error(), "padding_side is \"top\""));
  }
  SUBCASE("number of sentinels") {
    set(folder, "extra_ids", -1);
    CHECK(contains(folder.error(), "extra_ids is -1, expected 0 to 1000"));
  }
  SUBCASE("as many sentinels as no vocabulary has") {
    set(folder, "extra_ids", 100'000);
    CHECK(contains(folder.error(), "extra_ids is 100000, expected 0 to 1000"));
  }
}

TEST_CASE("a folder that denies its kind the tokens around a text is refused") {
  const TokenizerFolder folder("clip");
  set(folder, "eos_token", nullptr);
  CHECK(contains(folder.error(), "the folder names no eos_token"));
  set(folder, "bos_token", nullptr);
  CHECK(contains(folder.error(), "the folder names no bos_token"));
}

}  // namespace
}  // namespace mflux::tokenizer
