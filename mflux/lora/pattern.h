// SPDX-License-Identifier: MIT
// The regular expressions of PEFT's alpha_pattern and rank_pattern, without backtracking: whatever
// a file says, the work is bounded by length of the pattern x length of the name.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mflux::lora {

// Literals, '.', classes, groups, '|', '*', '+', '?', {m,n}, '^', '$', \d \w \s and escaped
// punctuation.
class Pattern {
 public:
  // None if the text is not of that language, or absurdly long.
  static std::optional<Pattern> parse(std::string_view text);

  // Does it match `module` whole, or what follows one of its dots: "(.*\.)?(pattern)$".
  bool matches(std::string_view module) const;

  // How much work a character of a module's name can be: 0 of a plain text.
  size_t steps() const { return program_.size(); }

  struct Step {
    enum class Kind : uint8_t { one_of, split, jump, begin, end } kind = Kind::one_of;
    std::bitset<256> characters = {};
    int first = 1;  // where to go on, relative to this step
    int second = 1;
  };

 private:
  std::string literal_;  // if the pattern is plain text, with kAny for any character
  bool whole_ = false;   // the literal is the module's whole name
  std::vector<Step> program_;
};

}  // namespace mflux::lora
