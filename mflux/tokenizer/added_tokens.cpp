// SPDX-License-Identifier: MIT
// A text is cut twice: at the tokens that are found in it as it is, then each part, normalized, at
// those that are found after that. At every place the longest token that begins there wins, found
// byte by byte in the sorted list.
#include "mflux/tokenizer/added_tokens.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

constexpr size_t kLongest = 256;  // bytes of a token's text

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (!is_space(c.value)) break;
    at += c.bytes;
  }
  return at;
}

size_t skip_spaces_back(std::string_view text, size_t end, size_t least) {
  while (end > least) {
    const Character c = character_before(text, end);
    if (!is_space(c.value)) break;
    end -= c.bytes;
  }
  return end;
}

bool is_single_word(std::string_view text, size_t start, size_t end) {
  return (start == 0 || !is_word(character_before(text, start).value)) &&
         (end == text.size() || !is_word(character_at(text, end).value));
}

}  // namespace

AddedTokens::AddedTokens(
    std::map<int32_t, AddedToken> tokens,
    bool split_special,
    const Normalizer& normalizer,
    std::string_view file)
    : tokens_(std::move(tokens)), split_special_(split_special) {
  for (const auto& [id, token] : tokens_) {
    ids_[token.content] = id;
    std::string text = token.normalized ? normalizer(token.content) : token.content;
    // Nothing to be found by; the token has an id all the same.
    if (text.empty()) continue;
    if (text.size() > kLongest) {
      fail(
          "{}: the added token {} has {} bytes, expected at most {}",
          file,
          id,
          text.size(),
          kLongest);
    }
    (token.normalized ? normalized_ : raw_).push_back({std::move(text), id});
  }
  for (Patterns* patterns : {&raw_, &normalized_}) sort(*patterns, file);
}

void AddedTokens::sort(Patterns& patterns, std::string_view file) {
  std::ranges::stable_sort(patterns, {}, &Pattern::text);
  const auto same = std::ranges::adjacent_find(patterns, {}, &Pattern::text);
  if (same == patterns.end()) return;
  fail(
      "{}: the added tokens {} and {} both stand for the text '{}'",
      file,
      same->id,
      std::next(same)->id,
      same->text);
}

// What `text` begins with. Byte by byte, so that the work does not grow with the number of tokens.
const AddedTokens::Pattern* AddedTokens::longest_match(
    std::string_view text, const Patterns& patterns) {
  const Pattern* longest = nullptr;
  std::span<const Pattern> left(patterns);  // those whose first `depth` bytes are the text's
  for (size_t depth = 0; depth < text.size() && !left.empty(); ++depth) {
    const auto next = [&](const Pattern& pattern) {
      return pattern.text.size() > depth ? int{static_cast<unsigned char>(pattern.text[depth])}
                                         : -1;
    };
    const int byte = static_cast<unsigned char>(text[depth]);
    const auto found = std::ranges::equal_range(left, byte, {}, next);
    left = std::span<const Pattern>(found.begin(), found.end());
    // A pattern that ends here comes before all that go on.
    if (!left.empty() && left.front().text.size() == depth + 1) longest = &left.front();
  }
  return longest;
}

std::vector<AddedTokens::Part> AddedTokens::parts(
    std::string_view text, const Patterns& patterns) const {
  std::vector<Part> parts;
  size_t done = 0;  // what lies before it is in a part
  size_t at = 0;
  while (at < text.size()) {
    const Pattern* match = longest_match(text.substr(at), patterns);
    if (match == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(match->id);
    size_t start = at;
    size_t end = at + match->text.size();
    at = end;
    if (split_special_ && token.special) continue;
    if (token.single_word && !is_single_word(text, start, end)) continue;
    // A token that took the spaces after it may have reached into this one.
    if (token.left_strip) start = std::max(skip_spaces_back(text, start, done), done);
    if (token.right_strip) end = skip_spaces(text, end);
    if (done < start) parts.push_back({{}, text.substr(done, start - done)});
    parts.push_back({match->id, text.substr(start, end - start)});
    done = end;
  }
  if (done < text.size()) parts.push_back({{}, text.substr(done)});
  return parts;
}

void AddedTokens::split(
    std::string_view whole,
    const Normalizer& normalizer,
    const std::function<void(int32_t)>& token,
    const std::function<void(std::string_view)>& text) const {
  for (const Part& part : parts(whole, raw_)) {
    if (part.id) {
      token(*part.id);
      continue;
    }
    const std::string normalized = normalizer(part.text);
    for (const Part& inner : parts(normalized, normalized_)) {
      if (inner.id)
        token(*inner.id);
      else
        text(inner.text);
    }
  }
}

std::optional<int32_t> AddedTokens::find(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace mflux::tokenizer
