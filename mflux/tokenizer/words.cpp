// SPDX-License-Identifier: MIT
// The regular expressions of CLIP's and Qwen2's tokenizers, written out by hand: one pass over the
// text, no backtracking, so no text can make them slow.
#include "mflux/tokenizer/words.h"

#include <array>

#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

// Neither space nor letter nor number.
bool is_symbol(char32_t c) {
  return !is_space(c) && !is_letter(c) && !is_number(c);
}
bool is_newline(char32_t c) {
  return c == '\r' || c == '\n';
}

// The end of the run of characters that `is` holds for, from `at` on.
template <typename Predicate>
size_t run_end(std::string_view text, size_t at, Predicate is) {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (!is(c.value)) break;
    at += c.bytes;
  }
  return at;
}

// 's 't 're 've 'm 'll 'd: the bytes of the ending at `at`, 0 if there is none. `same` compares a
// letter of it with a character of the text.
template <typename Same>
size_t contraction(std::string_view text, size_t at, Same same) {
  constexpr std::array<std::string_view, 7> kEndings = {"s", "t", "re", "ve", "m", "ll", "d"};
  if (text[at] != '\'') return 0;
  for (const std::string_view ending : kEndings) {
    size_t end = at + 1;
    bool equal = true;
    for (const char letter : ending) {
      if (end >= text.size()) {
        equal = false;
        break;
      }
      const Character c = character_at(text, end);
      equal = same(static_cast<char32_t>(letter), c.value);
      if (!equal) break;
      end += c.bytes;
    }
    if (equal) return end - at;
  }
  return 0;
}

bool same_case(char32_t letter, char32_t c) {
  return letter == c;
}

// Upper case of ASCII, and the long s, whose case folding is s.
bool any_case(char32_t letter, char32_t c) {
  constexpr char32_t kLongS = 0x17F;
  return c == letter || c + 0x20 == letter || (letter == 's' && c == kLongS);
}

// \s*[\r\n]+ | \s+(?!\S) | \s+ : up to the last newline of the run; else all but the space that
// stands before the next word, unless it is alone.
size_t space_end(std::string_view text, size_t at) {
  size_t after_newline = at;
  size_t last = at;  // where the run's last character begins
  size_t end = at;
  while (end < text.size()) {
    const Character c = character_at(text, end);
    if (!is_space(c.value)) break;
    last = end;
    end += c.bytes;
    if (is_newline(c.value)) after_newline = end;
  }
  if (after_newline > at) return after_newline;
  return end == text.size() || last == at ? end : last;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} |  ?[^\s\p{L}\p{N}]+[\r\n]* and
// spaces.
size_t qwen2_word_end(std::string_view text, size_t at) {
  if (const size_t bytes = contraction(text, at, any_case)) return at + bytes;
  const Character c = character_at(text, at);
  const size_t next = at + c.bytes;
  if (is_letter(c.value)) return run_end(text, next, is_letter);
  if (is_number(c.value)) return next;
  if (!is_newline(c.value)) {
    const size_t end = run_end(text, next, is_letter);
    if (end > next) return end;
  }
  if (const size_t start = c.value == ' ' ? next : at; !is_space(c.value) || c.value == ' ') {
    const size_t end = run_end(text, start, is_symbol);
    if (end > start) return run_end(text, end, is_newline);
  }
  return space_end(text, at);
}

}  // namespace

std::vector<std::string_view> clip_words(std::string_view text) {
  // Their text (in capitals, say: else they are tokens) is one word to the first expression
  // and three to the second, which the byte-level step brings along.
  constexpr std::array<std::string_view, 2> kMarks = {"<|startoftext|>", "<|endoftext|>"};
  std::vector<std::string_view> words;
  size_t at = 0;
  const auto take = [&](size_t bytes) {
    words.push_back(text.substr(at, bytes));
    at += bytes;
  };
  while (at < text.size()) {
    size_t mark_bytes = 0;
    for (const std::string_view mark : kMarks) {
      if (text.substr(at).starts_with(mark)) mark_bytes = mark.size();
    }
    if (mark_bytes != 0) {
      take(2);
      take(mark_bytes - 4);
      take(2);
      continue;
    }
    if (const size_t bytes = contraction(text, at, same_case)) {
      take(bytes);
      continue;
    }
    const Character c = character_at(text, at);
    if (is_space(c.value))
      at += c.bytes;
    else if (is_number(c.value))
      take(c.bytes);
    else if (is_letter(c.value))
      take(run_end(text, at, is_letter) - at);
    else
      take(run_end(text, at, is_symbol) - at);
  }
  return words;
}

std::vector<std::string_view> qwen2_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = qwen2_word_end(text, at);
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace mflux::tokenizer
