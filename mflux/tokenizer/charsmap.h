// SPDX-License-Identifier: MIT
// sentencepiece's normalization, compiled into a double array of Darts: byte sequences and what
// takes their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mflux::tokenizer {

class Charsmap {
 public:
  Charsmap() = default;  // changes nothing
  // `bytes` as in normalizer_spec.precompiled_charsmap: the array's size in bytes (little-endian,
  // 4 bytes), the array, then the replacements, each ended by a zero byte. Throws Error, naming
  // `file`, if it is not like that.
  Charsmap(std::string_view bytes, std::string_view file);

  // As `tokenizers` applies it, which is not quite as sentencepiece does: a short grapheme is
  // replaced whole by what its shortest known beginning stands for.
  std::string normalize(std::string_view text) const;

 private:
  std::optional<std::string_view> replacement(std::string_view text) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace mflux::tokenizer
