// SPDX-License-Identifier: MIT
// Files with bytes changed at random: they open or are refused by an Error, nothing else.
#include <random>

#include <doctest/doctest.h>

#include "tests/tokenizer/folders.h"

namespace mflux::tokenizer {
namespace {

using testing::TokenizerFolder;

std::string damaged(std::string bytes, std::mt19937& random) {
  const auto below = [&](size_t end) { return static_cast<size_t>(random()) % end; };
  const size_t changes = 1 + below(4);
  for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = below(bytes.size());
    switch (below(5)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes.erase(at, 1 + below(20));
        break;
      case 2:
        bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(20)));
        break;
      case 3:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      default:
        bytes.resize(at);
    }
  }
  return bytes;
}

void check_damage(std::string_view name, std::initializer_list<const char*> files) {
  const TokenizerFolder folder(name);
  std::mt19937 random(2026);
  const std::string text =
      "it's \uff21 photo, <|im_start|>e\u0301 12 </s> <extra_id_0>\n \u2581\u4e00";
  size_t opened = 0;
  size_t refused = 0;
  for (const char* file : files) {
    const std::string whole = testing::read_file(folder / file);
    for (int round = 0; round < 150; ++round) {
      testing::write_file(folder / file, damaged(whole, random));
      try {
        const Tokenizer tokenizer = Tokenizer::open(folder.path());
        for (const int32_t id : tokenizer.encode(text).ids) {
          CHECK(id >= 0);
          CHECK(id < tokenizer.size());
        }
        ++opened;
      } catch (const Error&) {
        ++refused;
      }
    }
    testing::write_file(folder / file, whole);
  }
  CHECK(opened > 0);
  CHECK(refused > 0);
}

TEST_CASE("damaged tokenizer files are refused or read, and nothing breaks") {
  SUBCASE("CLIP") {
    check_damage("clip", {"vocab.json", "merges.txt", "tokenizer_config.json"});
  }
  SUBCASE("Qwen2") {
    check_damage("qwen-saved", {"tokenizer.json", "tokenizer_config.json"});
  }
  SUBCASE("T5, spiece.model") {
    check_damage("t5", {"spiece.model", "special_tokens_map.json"});
  }
  SUBCASE("T5, tokenizer.json") {
    check_damage("t5-saved", {"tokenizer.json"});
  }
}

}  // namespace
}  // namespace mflux::tokenizer
