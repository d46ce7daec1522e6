// SPDX-License-Identifier: MIT
// Tokens that are looked for in the text itself, before it falls into words: <|im_start|>, </s>.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mflux::tokenizer {

struct AddedToken {
  std::string content = {};
  bool special = false;
  bool normalized = true;    // looked for in the normalized text
  bool single_word = false;  // only where no word goes on at either end
  bool left_strip = false;   // takes the spaces before it
  bool right_strip = false;  // and those after it
  bool plain = false;        // its file gives a text only, no flags

  auto operator<=>(const AddedToken&) const = default;
};

using Normalizer = std::function<std::string(std::string_view)>;

class AddedTokens {
 public:
  // `split_special`: special tokens are text like any other. Throws Error, naming `file`, if two
  // tokens look alike once they are normalized, or if one is of a length that no token has.
  AddedTokens(
      std::map<int32_t, AddedToken> tokens,
      bool split_special,
      const Normalizer& normalizer,
      std::string_view file);

  // Calls `token(id)` and `text(normalized part)` in the order of the text.
  void split(
      std::string_view whole,
      const Normalizer& normalizer,
      const std::function<void(int32_t)>& token,
      const std::function<void(std::string_view)>& text) const;

  std::optional<int32_t> find(std::string_view content) const;
  const std::map<int32_t, AddedToken>& tokens() const { return tokens_; }

 private:
  struct Pattern {
    std::string text = {};
    int32_t id = 0;
  };
  using Patterns = std::vector<Pattern>;  // sorted by text
  struct Part {
    std::optional<int32_t> id = {};  // none: text
    std::string_view text = {};
  };
  static void sort(Patterns& patterns, std::string_view file);
  static const Pattern* longest_match(std::string_view text, const Patterns& patterns);
  std::vector<Part> parts(std::string_view text, const Patterns& patterns) const;

  std::map<int32_t, AddedToken> tokens_;
  std::map<std::string, int32_t, std::less<>> ids_;
  bool split_special_ = false;
  Patterns raw_ = {};
  Patterns normalized_ = {};
};

}  // namespace mflux::tokenizer
