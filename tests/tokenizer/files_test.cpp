// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/files.h"

#include <doctest/doctest.h>

#include "tests/folders.h"
#include "tests/tokenizer/folders.h"

namespace mflux::tokenizer {
namespace {

using testing::contains;
using testing::replace_in;
using testing::TokenizerFolder;
using testing::write_file;

void remove_file(const std::filesystem::path& file) {
  REQUIRE(std::filesystem::remove(file));
}

TEST_CASE("a missing file of a tokenizer is an error that names it") {
  SUBCASE("the folder") {
    const testing::TempDir dir;
    const std::string error = testing::error_of([&] { read_tokenizer_files(dir / "none"); });
    CHECK(contains(error, "no such folder"));
  }
  SUBCASE("all files") {
    const testing::TempDir dir;
    const std::string error = testing::error_of([&] { read_tokenizer_files(dir.path()); });
    CHECK(contains(error, "expected tokenizer.json, spiece.model, or vocab.json and merges.txt"));
  }
  SUBCASE("merges.txt") {
    const TokenizerFolder folder("clip");
    remove_file(folder / "merges.txt");
    CHECK(contains(folder.error(), "vocab.json: there is no merges.txt"));
  }
  SUBCASE("vocab.json") {
    const TokenizerFolder folder("qwen");
    remove_file(folder / "vocab.json");
    CHECK(contains(folder.error(), "expected tokenizer.json, or vocab.json and merges.txt"));
  }
  SUBCASE("spiece.model") {
    const TokenizerFolder folder("t5");
    remove_file(folder / "spiece.model");
    CHECK(contains(folder.error(), "expected tokenizer.json, or spiece.model"));
  }
  SUBCASE("tokenizer_config.json is not needed") {
    const TokenizerFolder folder("qwen");
    remove_file(folder / "tokenizer_config.json");
    CHECK(folder.error().empty());
  }
}

TEST_CASE("a file that is not a JSON object is an error that names it") {
  const TokenizerFolder folder("qwen");
  for (const char* name : {"tokenizer_config.json", "vocab.json", "tokenizer.json"}) {
    const bool existed = std::filesystem::exists(folder / name);
    const std::string kept = existed ? testing::read_file(folder / name) : "";
    write_file(folder / name, "{\"a\": ");
    CHECK(contains(folder.error(), std::string(name) + " is not valid JSON"));
    write_file(folder / name, "[]");
    CHECK(contains(folder.error(), std::string(name) + " is not a JSON object"));
    remove_file(folder / name);
    if (existed) write_file(folder / name, kept);
  }
  CHECK(folder.error().empty());
}

TEST_CASE("a class of another family is refused") {
  const TokenizerFolder folder("qwen");
  replace_in(folder / "tokenizer_config.json", "Qwen2Tokenizer", "LlamaTokenizer");
  CHECK(contains(folder.error(), "tokenizer_class is 'LlamaTokenizer'"));
}

TEST_CASE("a model that the class does not work with is refused") {
  const TokenizerFolder folder("t5-saved");
  replace_in(folder / "tokenizer_config.json", "T5Tokenizer", "CLIPTokenizer");
  CHECK(contains(folder.error(), "the model is \"Unigram\""));
  replace_in(folder / "tokenizer.json", "\"Unigram\"", "\"WordPiece\"");
  CHECK(contains(folder.error(), "the model is \"WordPiece\", expected \"BPE\" or \"Unigram\""));
}

TEST_CASE("a vocabulary with a bad id is refused") {
  const TokenizerFolder folder("clip");
  const auto with = [&](std::string_view entries) {
    write_file(folder / "vocab.json", fmt::format("{{{}}}", entries));
    return folder.error();
  };
  CHECK(contains(with(R"("a": -1)"), "the token 'a' has the id -1"));
  CHECK(contains(with(R"("a": 1.5)"), "the token 'a' has the id 1.5"));
  CHECK(contains(with(R"("a": "1")"), "the token 'a' has the id \"1\""));
  CHECK(contains(with(R"("a": 4294967296)"), "the token 'a' has the id 4294967296"));
  CHECK(contains(with(R"("a": 7, "b": 7)"), "the tokens 'a' and 'b' have the id 7"));
  CHECK(contains(with(""), "the vocabulary is empty"));
}

TEST_CASE("merges that do not fit are refused") {
  const TokenizerFolder folder("clip");
  const auto with = [&](std::string_view text) {
    write_file(folder / "merges.txt", text);
    return folder.error();
  };
  CHECK(contains(with("#version: 0.2\nab\n"), "merge 0 is 'ab', expected two tokens"));
  CHECK(contains(with("a b\na b c\n"), "merge 1 is 'a b c'"));
  CHECK(contains(with("a \xE2\x99\xA5\n"), "merge 0 names the token '\xE2\x99\xA5'"));
  CHECK(contains(with("z q\n"), "merge 0 names the token 'zq'"));
  CHECK(with("#version: 0.2\r\n").empty());

  const TokenizerFolder saved("qwen-saved");
  replace_in(saved / "tokenizer.json", "\"merges\":[", "\"merges\":[[\"a\"],");
  CHECK(contains(saved.error(), "merge 0 is [\"a\"], expected two tokens"));
  replace_in(saved / "tokenizer.json", "\"merges\":", "\"unused\":");
  CHECK(contains(saved.error(), "a vocabulary without merges"));
}

TEST_CASE("older files hold merges as texts") {
  const TokenizerFolder folder("qwen-saved");
  std::string text = testing::read_file(folder / "tokenizer.json");
  const size_t merges = text.find("\"merges\":[[");
  REQUIRE(merges != std::string::npos);
  // ["a","b"] -> "a b"
  for (size_t at = merges; (at = text.find("\",\"", at)) != std::string::npos;)
    text.replace(at, 3, " ");
  for (size_t at = merges + 10; (at = text.find("[\"", at)) != std::string::npos;)
    text.replace(at, 2, "\"");
  for (size_t at = merges + 10; (at = text.find("\"]", at)) != std::string::npos;) {
    if (text[at + 2] == ']') {
      text.erase(at + 1, 1);
      break;
    }
    text.replace(at, 2, "\"");
  }
  const auto before = Tokenizer::open(folder.path()).encode("the evening light");
  write_file(folder / "tokenizer.json", text);
  CHECK(Tokenizer::open(folder.path()).encode("the evening light").ids == before.ids);
}

TEST_CASE("pieces and charsmap of a tokenizer.json are checked") {
  const TokenizerFolder folder("t5-saved");
  SUBCASE("a piece without score") {
    replace_in(folder / "tokenizer.json", "[\"<pad>\",0.0]", "[\"<pad>\"]");
    CHECK(contains(folder.error(), "piece 0 is [\"<pad>\"], expected a text and a score"));
  }
  SUBCASE("a charsmap that is not base64") {
    replace_in(
        folder / "tokenizer.json", "\"precompiled_charsmap\":\"", "\"precompiled_charsmap\":\"*");
    CHECK(contains(folder.error(), "the charsmap is not in base64"));
  }
  SUBCASE("no model") {
    replace_in(folder / "tokenizer.json", "\"model\"", "\"modal\"");
    CHECK(contains(folder.error(), "no object 'model'"));
  }
}

TEST_CASE("a tokenizer.json counts before the older files") {
  const TokenizerFolder folder("t5");
  write_file(
      folder / "tokenizer.json",
      testing::read_file(testing::tokenizer_data("t5-saved/tokenizer.json")));
  write_file(folder / "spiece.model", "not read");
  CHECK(folder.error().empty());
}

}  // namespace
}  // namespace mflux::tokenizer
