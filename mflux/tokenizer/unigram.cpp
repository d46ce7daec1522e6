// SPDX-License-Identifier: MIT
// The best path over the places between bytes (Viterbi), from left to right: at each place the
// pieces that begin there are found byte by byte, by narrowing a range of the sorted pieces, and
// offered to the place where they end. Then the path is read backwards.
#include "mflux/tokenizer/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux::tokenizer {
namespace {

// An unknown character scores this much below the worst piece.
constexpr double kUnknownPenalty = 10.0;

constexpr size_t kLongest = 256;  // bytes of a piece, which bounds the work per byte of a word

unsigned char byte_at(std::string_view text, size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// The best way to cut the word up to a place.
struct Best {
  double score = 0;
  size_t start = std::string_view::npos;  // of the last piece; npos: no way leads here yet
  int32_t id = 0;
};

}  // namespace

Unigram::Unigram(std::vector<Piece> pieces, int32_t unknown, std::string_view file)
    : unknown_(unknown) {
  if (unknown < 0 || static_cast<size_t>(unknown) >= pieces.size())
    fail("{}: {} pieces, but the unknown piece is number {}", file, pieces.size(), unknown);
  double worst = std::numeric_limits<double>::infinity();
  entries_.reserve(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) {
    Piece& piece = pieces[id];
    if (piece.text.empty()) fail("{}: piece {} is empty", file, id);
    if (piece.text.size() > kLongest) {
      fail("{}: piece {} has {} bytes, expected at most {}", file, id, piece.text.size(), kLongest);
    }
    if (!std::isfinite(piece.score))
      fail("{}: piece {} '{}' has the score {}", file, id, piece.text, piece.score);
    worst = std::min(worst, piece.score);
    entries_.push_back({std::move(piece.text), piece.score, static_cast<int32_t>(id)});
  }
  unknown_score_ = worst - kUnknownPenalty;
  std::ranges::stable_sort(entries_, {}, &Entry::text);
  const auto twice = std::ranges::adjacent_find(entries_, {}, &Entry::text);
  if (twice != entries_.end()) {
    fail(
        "{}: the pieces {} and {} are both '{}'",
        file,
        twice->id,
        std::next(twice)->id,
        twice->text);
  }
  const Span all = {0, entries_.size()};
  for (size_t byte = 0; byte < by_first_.size(); ++byte)
    by_first_[byte] = narrowed(all, 0, static_cast<char>(byte));
}

// The entries of `span`, which share their first `depth` bytes, that go on with `byte`.
Unigram::Span Unigram::narrowed(Span span, size_t depth, char byte) const {
  const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(span.first);
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(span.end);
  // An entry that ends here comes before all that go on.
  const auto next = [&](const Entry& entry) {
    return entry.text.size() > depth ? int{byte_at(entry.text, depth)} : -1;
  };
  const auto found =
      std::ranges::equal_range(first, end, int{static_cast<unsigned char>(byte)}, {}, next);
  return {
      static_cast<size_t>(found.begin() - entries_.begin()),
      static_cast<size_t>(found.end() - entries_.begin())};
}

std::optional<int32_t> Unigram::find(std::string_view text) const {
  const auto found = std::ranges::lower_bound(entries_, text, {}, &Entry::text);
  if (found == entries_.end() || found->text != text) return std::nullopt;
  return found->id;
}

void Unigram::encode(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<Best> best(word.size() + 1);
  const auto offer = [&](size_t start, size_t end, double score, int32_t id) {
    const double sum = best[start].score + score;
    // Of two equal ways the first stays: the one of the longer last piece.
    if (best[end].start == std::string_view::npos || sum > best[end].score)
      best[end] = {sum, start, id};
  };
  for (size_t start = 0; start < word.size();) {
    const size_t character_end = start + character_at(word, start).bytes;
    bool covered = false;  // some piece is exactly this character
    Span span = by_first_[byte_at(word, start)];
    for (size_t end = start + 1; span.first < span.end; ++end) {
      const Entry& entry = entries_[span.first];
      if (entry.text.size() == end - start) {
        offer(start, end, entry.score, entry.id);
        if (end == character_end) covered = true;
      }
      if (end == word.size()) break;
      span = narrowed(span, end - start, word[end]);
    }
    if (!covered) offer(start, character_end, unknown_score_, unknown_);
    start = character_end;
  }

  const size_t first = ids.size();
  for (size_t end = word.size(); end > 0;) {
    size_t start = best[end].start;
    int32_t id = best[end].id;
    if (id == unknown_) {
      // Unknown characters in a row are one token, or the piece that they happen to make.
      while (start > 0 && best[start].id == unknown_) start = best[start].start;
      id = find(word.substr(start, end - start)).value_or(unknown_);
    }
    ids.push_back(id);
    end = start;
  }
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
}

}  // namespace mflux::tokenizer
