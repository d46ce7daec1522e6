// SPDX-License-Identifier: MIT
// The tokenizers there are, by the text encoders that were trained with them.
#pragma once

#include <cstdint>

namespace mflux::tokenizer {

enum class Kind : uint8_t {
  clip,   // byte pairs of lower case words; <|startoftext|> ... <|endoftext|>
  qwen2,  // byte pairs; adds nothing
  t5,     // unigram pieces; ... </s>
};

}  // namespace mflux::tokenizer
