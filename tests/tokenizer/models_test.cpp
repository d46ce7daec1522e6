// SPDX-License-Identifier: MIT
// The two models: byte pairs and unigram pieces.
#include <doctest/doctest.h>

#include "mflux/tokenizer/byte_pairs.h"
#include "mflux/tokenizer/unigram.h"
#include "tests/testing.h"

namespace mflux::tokenizer {
namespace {

using testing::contains;
using testing::error_of;
using Ids = std::vector<int32_t>;

template <typename Model>
Ids encode(const Model& model, std::string_view word) {
  Ids ids = {-1};  // what is there already stays
  model.encode(word, ids);
  CHECK(ids.front() == -1);
  ids.erase(ids.begin());
  return ids;
}

const Vocabulary kLetters = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}};

TEST_CASE("the pair learned first is joined first") {
  const BytePairs first(kLetters, {{"b", "c"}, {"a", "b"}, {"a", "bc"}}, {}, "test");
  CHECK(encode(first, "") == Ids{});
  CHECK(encode(first, "ab") == Ids{3});
  CHECK(encode(first, "abc") == Ids{5});
  CHECK(encode(first, "ababcb") == Ids{3, 5, 1});
  const BytePairs second(kLetters, {{"a", "b"}, {"b", "c"}}, {}, "test");
  CHECK(encode(second, "abc") == Ids{3, 2});
}

TEST_CASE("of a pair that is listed twice the last place counts") {
  const BytePairs pairs(kLetters, {{"a", "b"}, {"b", "c"}, {"a", "b"}}, {}, "test");
  CHECK(encode(pairs, "abc") == Ids{0, 4});
}

TEST_CASE("the last byte of a word is a symbol of its own") {
  const Vocabulary vocabulary = {{"a", 0}, {"a</w>", 1}, {"aa</w>", 2}, {"?", 3}};
  const BytePairOptions options = {.end_of_word = "</w>", .unknown = "?"};
  const BytePairs pairs(vocabulary, {{"a", "a</w>"}}, options, "test");
  CHECK(encode(pairs, "a") == Ids{1});
  CHECK(encode(pairs, "aaa") == Ids{0, 2});
  CHECK(encode(pairs, "xay") == Ids{3, 0, 3});
}

TEST_CASE("a byte that no token stands for is dropped where there is no unknown token") {
  const BytePairs pairs(kLetters, {{"a", "b"}}, {}, "test");
  CHECK(encode(pairs, "axb") == Ids{3});
}

TEST_CASE("a word of a million letters is no trouble") {
  Vocabulary vocabulary = {{"a", 0}};
  std::vector<Merge> merges;
  for (std::string token = "a"; token.size() < 64; token += token) {
    merges.emplace_back(token, token);
    vocabulary[token + token] = static_cast<int32_t>(merges.size());
  }
  const BytePairs pairs(vocabulary, merges, {}, "test");
  CHECK(encode(pairs, std::string(1 << 20, 'a')).size() == (1 << 20) / 64);
}

TEST_CASE("merges and unknown tokens outside the vocabulary are refused") {
  const auto error = [](const std::vector<Merge>& merges, const BytePairOptions& options) {
    return error_of([&] { BytePairs(kLetters, merges, options, "file"); });
  };
  CHECK(
      error({{"a", "b"}, {"x", "b"}}, {}) ==
      "file: merge 1 names the token 'x', which is not in the vocabulary");
  CHECK(contains(error({{"b", "a"}}, {}), "names the token 'ba'"));
  CHECK(error({}, {.unknown = "?"}) == "file: the vocabulary has no unknown token '?'");
}

const std::vector<Piece> kPieces = {
    {"<pad>", 0},
    {"</s>", 0},
    {"<unk>", 0},
    {"a", -3},
    {"b", -3},
    {"ab", -5},
    {"aba", -5.5},
    {"\u00e9", -1}};

TEST_CASE("the cut with the highest sum of scores wins") {
  const Unigram unigram(kPieces, 2, "test");
  CHECK(encode(unigram, "") == Ids{});
  CHECK(encode(unigram, "ab") == Ids{5});
  CHECK(encode(unigram, "aba") == Ids{6});
  CHECK(encode(unigram, "abab") == Ids{6, 4});  // -8.5 before ab ab with -10
  CHECK(encode(unigram, "\u00e9a") == Ids{7, 3});
}

TEST_CASE("unknown characters in a row are one unknown token") {
  const Unigram unigram(kPieces, 2, "test");
  CHECK(encode(unigram, "xyz") == Ids{2});
  CHECK(encode(unigram, "xaz\u4e00") == Ids{2, 3, 2});
  CHECK(encode(unigram, "<unk>") == Ids{2});
}

TEST_CASE("of two equal cuts the one with the longer last piece is taken") {
  const Unigram unigram({{"u", 0}, {"a", -1}, {"aa", -1}}, 0, "test");
  CHECK(encode(unigram, "aaa") == Ids{1, 2});
}

TEST_CASE("pieces that make no vocabulary are refused") {
  const auto error = [](std::vector<Piece> pieces, int32_t unknown) {
    return error_of([&] { Unigram(std::move(pieces), unknown, "file"); });
  };
  CHECK(error({{"a", 0}}, 2) == "file: 1 pieces, but the unknown piece is number 2");
  CHECK(error({}, 0) == "file: 0 pieces, but the unknown piece is number 0");
  CHECK(error({{"a", 0}, {"", 0}}, 0) == "file: piece 1 is empty");
  CHECK(error({{"a", 0}, {"b", 0}, {"a", 0}}, 0) == "file: the pieces 0 and 2 are both 'a'");
  CHECK(contains(error({{"a", std::numeric_limits<double>::quiet_NaN()}}, 0), "has the score nan"));
}

}  // namespace
}  // namespace mflux::tokenizer
