// SPDX-License-Identifier: MIT
// A word's bytes are a linked list; pairs that a merge joins stand in a queue by the merge's rank.
// The best is joined and its new neighbours enter the queue, n log n for n bytes; candidates that
// are out of date are skipped when they come up. Merges are found by binary search over pairs of
// ids.
#include "mflux/tokenizer/byte_pairs.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "mflux/base/error.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

constexpr size_t kNone = SIZE_MAX;

// GPT-2's alphabet: a printable byte is the character of that number, the others are numbered from
// 256 on.
std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> alphabet;
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    append_utf8(alphabet[byte], printable ? byte : next++);
  }
  return alphabet;
}

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

std::optional<int32_t> id_of(const Vocabulary& vocabulary, const std::string& token) {
  const auto found = vocabulary.find(token);
  return found == vocabulary.end() ? std::nullopt : std::optional(found->second);
}

// A pair in the queue. It is out of date if what stands at `position` no longer makes `id`.
struct Candidate {
  int32_t rank = 0;
  size_t position = 0;
  int32_t id = 0;
  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

struct Symbol {
  int32_t id = 0;
  size_t previous = kNone;
  size_t next = kNone;
  bool gone = false;
};

}  // namespace

BytePairs::BytePairs(
    const Vocabulary& vocabulary,
    const std::vector<Merge>& merges,
    const BytePairOptions& options,
    std::string_view file) {
  std::optional<int32_t> unknown;
  if (!options.unknown.empty()) {
    unknown = id_of(vocabulary, options.unknown);
    if (!unknown) fail("{}: the vocabulary has no unknown token '{}'", file, options.unknown);
  }
  const std::array<std::string, 256> alphabet = byte_alphabet();
  for (size_t byte = 0; byte < alphabet.size(); ++byte) {
    bytes_[byte] = id_of(vocabulary, alphabet[byte]);
    last_bytes_[byte] = id_of(vocabulary, alphabet[byte] + options.end_of_word);
    if (!bytes_[byte]) bytes_[byte] = unknown;
    if (!last_bytes_[byte]) last_bytes_[byte] = unknown;
  }

  joins_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto known = [&](const std::string& token) {
      const std::optional<int32_t> id = id_of(vocabulary, token);
      if (id) return *id;
      fail("{}: merge {} names the token '{}', which is not in the vocabulary", file, rank, token);
    };
    const auto& [left, right] = merges[rank];
    // One after the other, for the message to name the first unknown one.
    const int32_t left_id = known(left);
    const int32_t right_id = known(right);
    joins_.emplace_back(
        key_of(left_id, right_id), Join{static_cast<int32_t>(rank), known(left + right)});
  }
  // Not hashed: who chooses the ids could choose them to collide. Of a pair that is listed twice
  // the last rank counts.
  const auto pair_of = [](const auto& join) { return join.first; };
  std::ranges::reverse(joins_);
  std::ranges::stable_sort(joins_, {}, pair_of);
  const auto [end, last] = std::ranges::unique(joins_, {}, pair_of);
  joins_.erase(end, last);
}

const BytePairs::Join* BytePairs::find(int32_t left, int32_t right) const {
  const uint64_t key = key_of(left, right);
  const auto found =
      std::ranges::lower_bound(joins_, key, {}, [](const auto& join) { return join.first; });
  return found == joins_.end() || found->first != key ? nullptr : &found->second;
}

void BytePairs::encode(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    // Only the last byte ends the word, though the byte before it may be of the same character.
    const std::optional<int32_t> id = i + 1 < word.size() ? bytes_[byte] : last_bytes_[byte];
    if (id) ids.push_back(*id);
  }
  merge(ids, first);
}

// The ids from `first` on, joined.
void BytePairs::merge(std::vector<int32_t>& ids, size_t first) const {
  std::vector<Symbol> symbols(ids.size() - first);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](size_t left, size_t right) {
    if (left == kNone || right == kNone) return;
    if (const Join* join = find(symbols[left].id, symbols[right].id))
      queue.push({join->rank, left, join->id});
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    symbols[i] = {ids[first + i], i == 0 ? kNone : i - 1, i + 1 < symbols.size() ? i + 1 : kNone};
  }
  for (size_t i = 0; i + 1 < symbols.size(); ++i) consider(i, i + 1);

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.position];
    if (left.gone || left.next == kNone) continue;
    Symbol& right = symbols[left.next];
    const Join* join = find(left.id, right.id);
    if (join == nullptr || join->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.gone = true;
    if (left.next != kNone) symbols[left.next].previous = best.position;
    consider(left.previous, best.position);
    consider(best.position, left.next);
  }

  ids.resize(first);
  for (const Symbol& symbol : symbols) {
    if (!symbol.gone) ids.push_back(symbol.id);
  }
}

}  // namespace mflux::tokenizer
