// SPDX-License-Identifier: MIT
// What a spiece.model holds, read without sentencepiece: a protocol buffer of pieces and settings.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/tokenizer/unigram.h"

namespace mflux::tokenizer {

enum class PieceType : uint8_t { normal, unknown, control, user_defined, unused, byte };

struct SentencePieces {
  std::vector<Piece> pieces = {};
  std::vector<PieceType> types = {};  // one per piece
  std::string charsmap = {};
};

// `bytes` of a unigram model; `file` for the Error if it is none or is cut.
SentencePieces parse_sentencepiece(std::string_view bytes, std::string_view file);

}  // namespace mflux::tokenizer
