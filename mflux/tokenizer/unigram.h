// SPDX-License-Identifier: MIT
// The unigram model: of all ways to cut a word into pieces the one of the highest sum of scores
// (log probabilities), found by Viterbi's algorithm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mflux::tokenizer {

struct Piece {
  std::string text = {};
  double score = 0;
};

class Unigram {
 public:
  // A piece's id is its place. `unknown` is the id of what no piece covers. Throws Error, naming
  // `file`, if a piece is empty, is listed twice or has no finite score, or if `unknown` is out of
  // range.
  Unigram(std::vector<Piece> pieces, int32_t unknown, std::string_view file);

  void encode(std::string_view word, std::vector<int32_t>& ids) const;  // appends

 private:
  struct Entry {
    std::string text = {};
    double score = 0;
    int32_t id = 0;
  };
  struct Span {
    size_t first = 0;
    size_t end = 0;
  };
  Span narrowed(Span span, size_t depth, char byte) const;
  std::optional<int32_t> find(std::string_view text) const;

  std::vector<Entry> entries_;           // sorted by text
  std::array<Span, 256> by_first_ = {};  // entries that start with a byte
  int32_t unknown_ = 0;
  double unknown_score_ = 0;
};

}  // namespace mflux::tokenizer
