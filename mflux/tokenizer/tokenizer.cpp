// SPDX-License-Identifier: MIT
// Added tokens are cut out first; what is between them is normalized, cut into words, and each word
// goes through the model. Special tokens, truncation and padding follow on ids.
#include "mflux/tokenizer/tokenizer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"
#include "mflux/tokenizer/added_tokens.h"
#include "mflux/tokenizer/byte_pairs.h"
#include "mflux/tokenizer/charsmap.h"
#include "mflux/tokenizer/files.h"
#include "mflux/tokenizer/settings.h"
#include "mflux/tokenizer/unicode.h"
#include "mflux/tokenizer/unigram.h"
#include "mflux/tokenizer/words.h"

namespace mflux::tokenizer {
namespace {

// T5 has it there whatever its file calls it.
constexpr int32_t kT5Unknown = 2;
// What a space becomes, and what begins a word.
constexpr std::string_view kWordMark = "\xE2\x96\x81";

std::string content_of(const TokenizerFiles& files, std::string_view role) {
  for (const auto& [name, token] : files.named) {
    if (name == role) return token.content;
  }
  return "";
}

// Every run of spaces as one plain space.
std::string single_spaces(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_spaces = false;
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const bool space = is_space(c.value);
    if (!space)
      out.append(text, at, c.bytes);
    else if (!in_spaces)
      out += ' ';
    in_spaces = space;
    at += c.bytes;
  }
  return out;
}

Normalizer normalizer_of(Kind kind, const Charsmap& charsmap) {
  switch (kind) {
    case Kind::clip:
      return [](std::string_view text) { return lowercase(single_spaces(nfc(text))); };
    case Kind::qwen2:
      return [](std::string_view text) { return nfc(text); };
    case Kind::t5:
      return [charsmap](std::string_view text) { return charsmap.normalize(text); };
  }
  return {};
}

// Calls `word` for each word of `text` between spaces, with a mark before it; a mark within begins
// a word too.
template <typename Call>
void t5_words(std::string_view text, Call word) {
  const auto is_space_at = [&](size_t at) { return is_space(character_at(text, at).value); };
  for (size_t at = 0; at < text.size();) {
    if (is_space_at(at)) {
      at += character_at(text, at).bytes;
      continue;
    }
    size_t end = at;
    while (end < text.size() && !is_space_at(end)) end += character_at(text, end).bytes;
    std::string marked(text.substr(at, end - at));
    if (!marked.starts_with(kWordMark)) marked.insert(0, kWordMark);
    for (size_t start = 0; start < marked.size();) {
      const size_t next = std::min(marked.find(kWordMark, start + 1), marked.size());
      word(std::string_view(marked).substr(start, next - start));
      start = next;
    }
    at = end;
  }
}

}  // namespace

struct Tokenizer::Parts {
  explicit Parts(TokenizerFiles files)
      : kind(files.kind),
        charsmap(files.charsmap, files.source),
        normalizer(normalizer_of(files.kind, charsmap)),
        added(number_added_tokens(files), files.split_special, normalizer, files.source),
        model(model_of(files)),
        pad_left(files.pad_left),
        truncate_left(files.truncate_left) {
    for (const auto& [token, id] : files.vocabulary) size = std::max(size, id + 1);
    if (!added.tokens().empty()) size = std::max(size, added.tokens().rbegin()->first + 1);
    pad = added.find(content_of(files, "pad_token"));
    bos = added.find(content_of(files, "bos_token"));
    eos = added.find(content_of(files, "eos_token"));
    for (const std::string& token : files.prefix) prefix.push_back(id_of(token, files));
    for (const std::string& token : files.suffix) suffix.push_back(id_of(token, files));
    const bool lacks_bos = kind == Kind::clip && prefix.empty();
    if (lacks_bos || (kind != Kind::qwen2 && suffix.empty()))
      fail("{}: the folder names no {}", files.source, lacks_bos ? "bos_token" : "eos_token");
  }

  // Takes the pieces.
  static std::variant<BytePairs, Unigram> model_of(TokenizerFiles& files) {
    if (files.kind == Kind::t5) return Unigram(std::move(files.pieces), kT5Unknown, files.source);
    BytePairOptions options;
    if (files.kind == Kind::clip) {
      options.end_of_word = "</w>";
      options.unknown = content_of(files, "unk_token");
    }
    return BytePairs(files.vocabulary, files.merges, options, files.source);
  }

  int32_t id_of(const std::string& token, const TokenizerFiles& files) const {
    if (const std::optional<int32_t> id = added.find(token)) return *id;
    const auto found = files.vocabulary.find(token);
    if (found == files.vocabulary.end())
      fail("{}: the special token '{}' has no id", files.source, token);
    return found->second;
  }

  void encode(std::string_view text, std::vector<int32_t>& ids) const {
    switch (kind) {
      case Kind::clip:
        for (const std::string_view word : clip_words(text))
          std::get<BytePairs>(model).encode(word, ids);
        break;
      case Kind::qwen2:
        for (const std::string_view word : qwen2_words(text))
          std::get<BytePairs>(model).encode(word, ids);
        break;
      case Kind::t5:
        t5_words(text, [&](std::string_view word) { std::get<Unigram>(model).encode(word, ids); });
        break;
    }
  }

  Kind kind;
  Charsmap charsmap;
  Normalizer normalizer;
  AddedTokens added;
  std::variant<BytePairs, Unigram> model;
  bool pad_left = false;
  bool truncate_left = false;
  int32_t size = 0;
  std::optional<int32_t> pad = {};
  std::optional<int32_t> bos = {};
  std::optional<int32_t> eos = {};
  std::vector<int32_t> prefix = {};
  std::vector<int32_t> suffix = {};
};

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&& other) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&& other) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::open(const std::filesystem::path& folder) {
  return Tokenizer(std::make_unique<const Parts>(read_tokenizer_files(folder)));
}

Encoding Tokenizer::encode(std::string_view utf8, const EncodeOptions& options) const {
  const Parts& parts = *parts_;
  if (const size_t at = invalid_utf8(utf8); at != std::string_view::npos)
    fail(ErrorKind::usage, "the text is not UTF-8: byte {} of {}", at, utf8.size());
  std::vector<int32_t> ids;
  parts.added.split(
      utf8,
      parts.normalizer,
      [&](int32_t id) { ids.push_back(id); },
      [&](std::string_view text) { parts.encode(text, ids); });

  Encoding out;
  const size_t around = options.add_special_tokens ? parts.prefix.size() + parts.suffix.size() : 0;
  if (options.max_length) {
    if (*options.max_length < around) {
      fail(
          ErrorKind::usage,
          "no room for {} special tokens in {} tokens",
          around,
          *options.max_length);
    }
    const size_t room = *options.max_length - around;
    out.left_out = ids.size() - std::min(ids.size(), room);
    const auto cut = static_cast<std::ptrdiff_t>(out.left_out);
    if (parts.truncate_left)
      ids.erase(ids.begin(), ids.begin() + cut);
    else
      ids.erase(ids.end() - cut, ids.end());
  }
  if (options.add_special_tokens) {
    ids.insert(ids.begin(), parts.prefix.begin(), parts.prefix.end());
    ids.insert(ids.end(), parts.suffix.begin(), parts.suffix.end());
  }
  if (options.pad_to > ids.size()) {
    if (!parts.pad) fail(ErrorKind::usage, "this tokenizer has no padding token");
    out.padding = options.pad_to - ids.size();
    out.pad_left = parts.pad_left;
    ids.insert(parts.pad_left ? ids.begin() : ids.end(), out.padding, *parts.pad);
  }
  out.ids = std::move(ids);
  return out;
}

Kind Tokenizer::kind() const {
  return parts_->kind;
}
int32_t Tokenizer::size() const {
  return parts_->size;
}
std::optional<int32_t> Tokenizer::pad() const {
  return parts_->pad;
}
std::optional<int32_t> Tokenizer::bos() const {
  return parts_->bos;
}
std::optional<int32_t> Tokenizer::eos() const {
  return parts_->eos;
}
std::optional<int32_t> Tokenizer::find(std::string_view token) const {
  return parts_->added.find(token);
}

}  // namespace mflux::tokenizer
