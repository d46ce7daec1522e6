// SPDX-License-Identifier: MIT
// A prompt -> the token ids that a text encoder was trained on, equal to those of transformers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "mflux/tokenizer/kind.h"

namespace mflux::tokenizer {

struct EncodeOptions {
  bool add_special_tokens = true;  // those that the kind puts around every text
  // Tokens, the special ones among them. What is too long loses its end (or its beginning, where
  // the folder says so), but not the special tokens. None: no limit.
  std::optional<size_t> max_length = {};
  size_t pad_to = 0;  // shorter ones are filled up to this many tokens with the padding token
};

struct Encoding {
  std::vector<int32_t> ids = {};
  size_t padding = 0;     // how many of the ids are padding
  size_t left_out = 0;    // tokens that max_length left no room for
  bool pad_left = false;  // the padding comes first
};

// Cheap to move, safe to use from several threads.
class Tokenizer {
 public:
  // A tokenizer folder of a diffusers checkpoint or one that Python's mflux saved: tokenizer.json,
  // else spiece.model, else vocab.json and merges.txt; and the tokens that tokenizer_config.json,
  // special_tokens_map.json and added_tokens.json name. Throws Error, naming the file, if one is
  // missing, cannot be read or contradicts another.
  static Tokenizer open(const std::filesystem::path& folder);

  Tokenizer(Tokenizer&& other) noexcept;
  Tokenizer& operator=(Tokenizer&& other) noexcept;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  // Throws Error of the kind usage if the text is not UTF-8, if max_length has no room for the
  // special tokens, or if there is no padding token to fill up with.
  Encoding encode(std::string_view utf8, const EncodeOptions& options = {}) const;

  Kind kind() const;
  int32_t size() const;  // above every id
  // None if the folder names no such token.
  std::optional<int32_t> pad() const;
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  // Of an added token, special or not, by its text: "<|vision_start|>".
  std::optional<int32_t> find(std::string_view token) const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace mflux::tokenizer
