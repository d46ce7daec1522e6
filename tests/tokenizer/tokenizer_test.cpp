// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/tokenizer.h"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/folders.h"
#include "tests/tokenizer/folders.h"

namespace mflux::tokenizer {
namespace {

using testing::contains;
using testing::error_of;
using testing::tokenizer_data;
using testing::TokenizerFolder;

using Ids = std::vector<int32_t>;

EncodeOptions options_of(const nlohmann::json& entry) {
  EncodeOptions options;
  options.add_special_tokens = entry.value("add_special_tokens", true);
  if (entry.contains("max_length")) options.max_length = entry["max_length"].get<size_t>();
  options.pad_to = entry.value("pad_to", size_t{0});
  return options;
}

// Of `folder`, against tests/data/tokenizer/KIND.json.
void check_ids(std::string_view folder, std::string_view kind) {
  const Tokenizer tokenizer = Tokenizer::open(tokenizer_data(folder));
  const std::string file = testing::read_file(tokenizer_data(std::string(kind) + ".json"));
  const nlohmann::json entries = nlohmann::json::parse(file);
  REQUIRE(entries.size() > 100);
  for (const nlohmann::json& entry : entries) {
    const auto text = entry["text"].get<std::string>();
    INFO("text: " << entry["text"].dump(-1, ' ', true));
    CHECK(tokenizer.encode(text, options_of(entry)).ids == entry["ids"].get<Ids>());
  }
}

TEST_CASE("the ids of awkward texts are those of transformers") {
  SUBCASE("CLIP, vocab.json and merges.txt") {
    check_ids("clip", "clip");
  }
  SUBCASE("CLIP, tokenizer.json") {
    check_ids("clip-saved", "clip");
  }
  SUBCASE("Qwen2, vocab.json and merges.txt") {
    check_ids("qwen", "qwen");
  }
  SUBCASE("Qwen2, tokenizer.json") {
    check_ids("qwen-saved", "qwen");
  }
  SUBCASE("T5, spiece.model") {
    check_ids("t5", "t5");
  }
  SUBCASE("T5, tokenizer.json") {
    check_ids("t5-saved", "t5");
  }
}

TEST_CASE("a tokenizer tells its kind and its special tokens") {
  const Tokenizer clip = Tokenizer::open(tokenizer_data("clip"));
  CHECK(clip.kind() == Kind::clip);
  CHECK(clip.size() == 807);
  CHECK(clip.bos() == clip.find("<|startoftext|>"));
  CHECK(clip.bos() == 805);
  CHECK(clip.eos() == 806);
  CHECK(clip.pad() == clip.eos());
  CHECK(clip.find("a") == std::nullopt);

  const Tokenizer qwen = Tokenizer::open(tokenizer_data("qwen"));
  CHECK(qwen.kind() == Kind::qwen2);
  CHECK(qwen.bos() == std::nullopt);
  CHECK(qwen.pad() == qwen.find("<|endoftext|>"));
  CHECK(qwen.eos() == qwen.find("<|im_end|>"));
  CHECK(qwen.find("<|image_pad|>") == 420 + 6);
  CHECK(qwen.find("<tool_call>") == 420 + 7);

  const Tokenizer t5 = Tokenizer::open(tokenizer_data("t5"));
  CHECK(t5.kind() == Kind::t5);
  CHECK(t5.pad() == 0);
  CHECK(t5.eos() == 1);
  CHECK(t5.find("<extra_id_0>") == t5.size() - 1);
  CHECK(t5.find("<extra_id_99>") == t5.size() - 100);
}

TEST_CASE("the kind is seen without a class name") {
  for (const char* name : {"clip", "clip-saved", "qwen", "qwen-saved", "t5", "t5-saved"}) {
    const TokenizerFolder folder(name);
    const Kind kind = Tokenizer::open(folder.path()).kind();
    testing::replace_in(folder / "tokenizer_config.json", "\"tokenizer_class\"", "\"unused\"");
    CHECK(Tokenizer::open(folder.path()).kind() == kind);
  }
}

TEST_CASE("a long text is cut, the special tokens stay, and the encoding says so") {
  const Tokenizer t5 = Tokenizer::open(tokenizer_data("t5"));
  const Encoding whole = t5.encode("a photo of a cat");
  CHECK(whole.left_out == 0);
  CHECK(whole.ids.back() == t5.eos());
  const size_t tokens = whole.ids.size();

  const Encoding cut = t5.encode("a photo of a cat", {.max_length = 4});
  CHECK(cut.ids == Ids{whole.ids[0], whole.ids[1], whole.ids[2], 1});
  CHECK(cut.left_out == tokens - 4);
  CHECK(t5.encode("a photo of a cat", {.max_length = tokens}).left_out == 0);
  CHECK(t5.encode("a photo", {.max_length = 1}).ids == Ids{1});
  CHECK(t5.encode("a photo", {.add_special_tokens = false, .max_length = 0}).ids.empty());

  const Encoding padded = t5.encode("a photo of a cat", {.max_length = 40, .pad_to = 40});
  CHECK(padded.ids.size() == 40);
  CHECK(padded.padding == 40 - tokens);
  CHECK(padded.ids.back() == t5.pad());
}

TEST_CASE("the folder says on which side a text is cut and filled up") {
  const TokenizerFolder folder("t5");
  testing::replace_in(
      folder / "tokenizer_config.json", "{", R"({"padding_side":"left","truncation_side":"left",)");
  const Tokenizer t5 = Tokenizer::open(folder.path());
  const Ids whole = t5.encode("a photo of a cat").ids;
  const Encoding cut = t5.encode("a photo of a cat", {.max_length = 3});
  CHECK(cut.ids == Ids(whole.end() - 3, whole.end()));
  const Encoding padded = t5.encode("a photo of a cat", {.pad_to = whole.size() + 1});
  CHECK(padded.pad_left);
  CHECK(padded.ids.front() == 0);
  CHECK(Ids(padded.ids.begin() + 1, padded.ids.end()) == whole);
}

TEST_CASE("special tokens are text where the folder wants it so") {
  const TokenizerFolder folder("qwen");
  const Ids one = Tokenizer::open(folder.path()).encode("<|im_end|>").ids;
  testing::replace_in(
      folder / "tokenizer_config.json",
      R"("split_special_tokens":false)",
      R"("split_special_tokens":true)");
  const Tokenizer qwen = Tokenizer::open(folder.path());
  CHECK(one.size() == 1);
  CHECK(qwen.encode("<|im_end|>").ids.size() > 1);
  CHECK(qwen.encode("<tool_call>").ids.size() == 1);  // not a special one
}

TEST_CASE("what is put around a Qwen2 text is the folder's choice") {
  const TokenizerFolder folder("qwen-saved");
  const Ids plain = Tokenizer::open(folder.path()).encode("a cat").ids;
  nlohmann::json saved = nlohmann::json::parse(testing::read_file(folder / "tokenizer.json"));
  saved["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
        {{"SpecialToken", {{"id", "<|im_end|>"}, {"type_id", 0}}}}}}};
  testing::write_file(folder / "tokenizer.json", saved.dump());
  const Tokenizer qwen = Tokenizer::open(folder.path());
  Ids expected = plain;
  expected.push_back(*qwen.find("<|im_end|>"));
  CHECK(qwen.encode("a cat").ids == expected);
  CHECK(qwen.encode("a cat", {.add_special_tokens = false}).ids == plain);

  saved["post_processor"] = {{"type", "BertProcessing"}};
  testing::write_file(folder / "tokenizer.json", saved.dump());
  CHECK(contains(folder.error(), "post-processor"));
}

TEST_CASE("a text that is not UTF-8 is refused, with the place") {
  const Tokenizer qwen = Tokenizer::open(tokenizer_data("qwen"));
  const std::string text = "ab\xC3(";
  CHECK(error_of([&] { qwen.encode(text); }) == "the text is not UTF-8: byte 2 of 4");
  CHECK(contains(error_of([&] { qwen.encode("\xED\xA0\x80"); }), "not UTF-8"));  // a surrogate
  CHECK(qwen.encode(std::string_view("a\0b", 3)).ids.size() == 3);
}

TEST_CASE("a length without room for the special tokens is refused") {
  const Tokenizer clip = Tokenizer::open(tokenizer_data("clip"));
  CHECK(error_of([&] {
          clip.encode("a", {.max_length = 1});
        }) == "no room for 2 special tokens in 1 tokens");
}

TEST_CASE("filling up without a padding token is refused") {
  const TokenizerFolder folder("qwen");
  testing::replace_in(
      folder / "tokenizer_config.json", R"("pad_token":"<|endoftext|>")", R"("pad_token":null)");
  const Tokenizer qwen = Tokenizer::open(folder.path());
  CHECK(qwen.pad() == std::nullopt);
  CHECK(
      error_of([&] { qwen.encode("a", {.pad_to = 9}); }) == "this tokenizer has no padding token");
}

}  // namespace
}  // namespace mflux::tokenizer
