// SPDX-License-Identifier: MIT
// Byte-level byte pair encoding: a word's bytes are joined pair by pair, the pair that was learned
// first before all others, until no learned pair is left.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mflux::tokenizer {

using Vocabulary = std::unordered_map<std::string, int32_t>;
using Merge = std::pair<std::string, std::string>;

struct BytePairOptions {
  std::string end_of_word = {};  // ends the last symbol of a word: "</w>" of CLIP
  std::string unknown = {};  // stands for a byte that the vocabulary lacks; empty: it is dropped
};

class BytePairs {
 public:
  // The tokens are written in GPT-2's alphabet of 256 printable characters, one per byte. Throws
  // Error, naming `file`, if a merge or the unknown token is not in the vocabulary.
  BytePairs(
      const Vocabulary& vocabulary,
      const std::vector<Merge>& merges,
      const BytePairOptions& options,
      std::string_view file);

  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Join {
    int32_t rank = 0;
    int32_t id = 0;
  };
  void merge(std::vector<int32_t>& ids, size_t first) const;
  const Join* find(int32_t left, int32_t right) const;

  using ByteIds = std::array<std::optional<int32_t>, 256>;
  ByteIds bytes_ = {};
  ByteIds last_bytes_ = {};                       // of the byte that ends a word
  std::vector<std::pair<uint64_t, Join>> joins_;  // sorted by the pair
};

}  // namespace mflux::tokenizer
