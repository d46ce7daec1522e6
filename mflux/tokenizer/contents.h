// SPDX-License-Identifier: MIT
// What the files of a tokenizer folder say, in one form for all of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mflux/tokenizer/added_tokens.h"
#include "mflux/tokenizer/byte_pairs.h"
#include "mflux/tokenizer/kind.h"
#include "mflux/tokenizer/unigram.h"

namespace mflux::tokenizer {

// No vocabulary comes near it; larger ids are errors.
constexpr int32_t kLargestId = (1 << 24) - 1;

struct TokenizerFiles {
  Kind kind = Kind::clip;
  std::string source = {};     // the file of the vocabulary, for messages
  Vocabulary vocabulary = {};  // of t5: the place of every piece
  std::vector<Merge> merges = {};
  std::vector<Piece> pieces = {};
  std::string charsmap = {};

  std::map<int32_t, AddedToken> added = {};  // as the files number them
  // By the role's name, "eos_token"; in the order in which they get ids if they have none.
  std::vector<std::pair<std::string, AddedToken>> named = {};
  std::vector<AddedToken> extra = {};    // more special tokens
  std::vector<std::string> prefix = {};  // put before every text
  std::vector<std::string> suffix = {};
  bool split_special = false;  // special tokens within a text are text
  bool pad_left = false;
  bool truncate_left = false;
};

}  // namespace mflux::tokenizer
