// SPDX-License-Identifier: MIT
// tokenizer.json wins, since it says everything; else spiece.model; else vocab.json with
// merges.txt. tokenizer_config.json's class says which kind it is, without one the vocabulary does.
// Large JSON is moved out and freed piece by piece, as it takes many times its bytes.
#include "mflux/tokenizer/files.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/json.h"
#include "mflux/tokenizer/json_files.h"
#include "mflux/tokenizer/sentencepiece.h"
#include "mflux/tokenizer/settings.h"

namespace mflux::tokenizer {
namespace {

using nlohmann::json;

// Of a class of transformers; none if it does not say.
std::optional<Kind> kind_of_class(std::string_view name, std::string_view file) {
  if (name.ends_with("Fast")) name.remove_suffix(4);
  if (name == "CLIPTokenizer") return Kind::clip;
  if (name == "Qwen2Tokenizer") return Kind::qwen2;
  if (name == "T5Tokenizer") return Kind::t5;
  if (name.empty() || name == "TokenizersBackend" || name == "PreTrainedTokenizer") return {};
  fail("{}: tokenizer_class is '{}', expected CLIP's, Qwen2's or T5's", file, name);
}

// CLIP marks the end of a word.
Kind kind_of_vocabulary(const Vocabulary& vocabulary) {
  return vocabulary.contains("a</w>") || vocabulary.contains("<|startoftext|>") ? Kind::clip
                                                                                : Kind::qwen2;
}

// Two tokens of one id are an error.
void check_ids(const Vocabulary& vocabulary, std::string_view file) {
  std::vector<std::pair<int32_t, std::string_view>> by_id;
  by_id.reserve(vocabulary.size());
  for (const auto& [token, id] : vocabulary) by_id.emplace_back(id, token);
  std::ranges::sort(by_id);
  const auto same =
      std::ranges::adjacent_find(by_id, {}, [](const auto& entry) { return entry.first; });
  if (same == by_id.end()) return;
  fail(
      "{}: the tokens '{}' and '{}' have the id {}",
      file,
      same->second,
      std::next(same)->second,
      same->first);
}

// Leaves `tokens` empty: it takes more memory than what becomes of it.
Vocabulary parse_vocabulary(json tokens, std::string_view file) {
  if (!tokens.is_object()) fail("{}: the vocabulary is not a JSON object", file);
  Vocabulary vocabulary;
  vocabulary.reserve(tokens.size());
  for (auto it = tokens.begin(); it != tokens.end(); it = tokens.erase(it)) {
    const std::string& token = it.key();
    const json& id = it.value();
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kLargestId})
      fail(
          "{}: the token '{}' has the id {}, expected 0 to {}",
          file,
          token,
          excerpt(id),
          kLargestId);
    vocabulary.emplace(token, id.get<int32_t>());
  }
  if (vocabulary.empty()) fail("{}: the vocabulary is empty", file);
  check_ids(vocabulary, file);
  return vocabulary;
}

Merge parse_merge(std::string_view line, size_t number, std::string_view file) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
    fail("{}: merge {} is '{}', expected two tokens with a space between", file, number, line);
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// Each makes a token, so a list that is much longer than the vocabulary is none.
void check_merges(size_t merges, const Vocabulary& vocabulary, std::string_view file) {
  const size_t most = 1000 + 2 * vocabulary.size();
  if (merges <= most) return;
  fail("{}: more than {} merges for {} tokens", file, most, vocabulary.size());
}

std::vector<Merge> parse_merges_text(
    std::string_view text, const Vocabulary& vocabulary, std::string_view file) {
  std::vector<Merge> merges;
  check_merges(static_cast<size_t>(std::ranges::count(text, '\n')), vocabulary, file);
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with("#version")) merges.push_back(parse_merge(line, merges.size(), file));
  }
  return merges;
}

// Both forms: "a b" of older files, ["a", "b"] of newer ones.
std::vector<Merge> parse_merges_json(
    const json& list, const Vocabulary& vocabulary, std::string_view file) {
  std::vector<Merge> merges;
  check_merges(list.size(), vocabulary, file);
  merges.reserve(list.size());
  for (const json& merge : list) {
    if (merge.is_string()) {
      merges.push_back(parse_merge(merge.get_ref<const std::string&>(), merges.size(), file));
    } else if (
        merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      fail("{}: merge {} is {}, expected two tokens", file, merges.size(), excerpt(merge));
    }
  }
  return merges;
}

std::vector<Piece> parse_pieces(const json& list, std::string_view file) {
  if (!list.is_array()) fail("{}: the vocabulary is not a list of pieces", file);
  std::vector<Piece> pieces;
  pieces.reserve(list.size());
  for (const json& entry : list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      fail("{}: piece {} is {}, expected a text and a score", file, pieces.size(), excerpt(entry));
    pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>()});
  }
  return pieces;
}

std::string decode_base64(std::string_view text, std::string_view file) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) fail("{}: the charsmap is not in base64", file);
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFF);
  }
  return bytes;
}

// The first charsmap of the normalizer, which may be a sequence of several.
std::string parse_charsmap(const json& saved, std::string_view file) {
  const json& normalizer = member(saved, "normalizer");
  if (!normalizer.is_object()) return {};
  const auto charsmap_of = [&](const json& one) -> std::string {
    const json& map = member(one, "precompiled_charsmap");
    if (member(one, "type") != "Precompiled" || !map.is_string()) return {};
    return decode_base64(map.get_ref<const std::string&>(), file);
  };
  if (!normalizer.contains("normalizers")) return charsmap_of(normalizer);
  const json& several = normalizer["normalizers"];
  if (!several.is_array()) fail("{}: the normalizers are not a list", file);
  for (const json& one : several) {
    if (std::string charsmap = charsmap_of(one); !charsmap.empty()) return charsmap;
  }
  return {};
}

void number_pieces(TokenizerFiles& files) {
  for (size_t id = 0; id < files.pieces.size(); ++id)
    files.vocabulary.emplace(files.pieces[id].text, static_cast<int32_t>(id));
}

// Takes the model out of `saved`.
void read_saved(json& saved, std::optional<Kind> kind, TokenizerFiles& files) {
  const std::string& file = files.source;
  json model = std::exchange(saved["model"], {});
  if (!model.is_object()) fail("{}: no object 'model'", file);
  const json& type = member(model, "type");
  json vocabulary = std::exchange(model["vocab"], {});
  const bool unigram = type == "Unigram" || (type.is_null() && vocabulary.is_array());
  if (!unigram && type != "BPE" && !type.is_null())
    fail("{}: the model is {}, expected \"BPE\" or \"Unigram\"", file, excerpt(type));
  if (kind && (*kind == Kind::t5) != unigram) {
    fail(
        "{}: the model is {}, which is not what tokenizer_config.json's class works with",
        file,
        excerpt(type));
  }
  if (unigram) {
    files.kind = Kind::t5;
    files.pieces = parse_pieces(vocabulary, file);
    files.charsmap = parse_charsmap(saved, file);
    number_pieces(files);
    return;
  }
  files.vocabulary = parse_vocabulary(std::move(vocabulary), file);
  files.kind = kind.value_or(kind_of_vocabulary(files.vocabulary));
  const json& merges = member(model, "merges");
  if (!merges.is_array()) fail("{}: a vocabulary without merges", file);
  files.merges = parse_merges_json(merges, files.vocabulary, file);
}

// Returns the tokens that the model calls special.
std::vector<AddedToken> read_sentencepiece(
    const std::filesystem::path& path, const json& config, TokenizerFiles& files) {
  SentencePieces model = parse_sentencepiece(read_text(path), files.source);
  std::vector<AddedToken> controls;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const bool control = model.types[id] == PieceType::control;
    if (!control && model.types[id] != PieceType::user_defined) continue;
    controls.push_back({.content = model.pieces[id].text, .special = control, .normalized = false});
  }
  files.kind = Kind::t5;
  files.pieces = std::move(model.pieces);
  files.charsmap = std::move(model.charsmap);
  // spiece.model lacks the sentinels, which follow it with falling numbers.
  for (int64_t i = sentinel_count(config, files.source) - 1; i >= 0; --i)
    files.pieces.push_back({fmt::format("<extra_id_{}>", i), 0.0});
  number_pieces(files);
  return controls;
}

TokenizerFiles read_files(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) fail("{}: no such folder", folder.string());
  json config = read_object(folder / "tokenizer_config.json");
  const json& class_name = member(config, "tokenizer_class");
  const std::optional<Kind> kind = kind_of_class(
      class_name.is_string() ? class_name.get<std::string>() : "",
      (folder / "tokenizer_config.json").string());

  TokenizerFiles files;
  json saved = json::object();
  std::vector<AddedToken> controls;
  const auto has = [&](const char* name) { return std::filesystem::exists(folder / name); };
  const auto path_of = [&](const char* name) { return (folder / name).string(); };
  if (has("tokenizer.json")) {
    files.source = path_of("tokenizer.json");
    saved = read_object(folder / "tokenizer.json");
    read_saved(saved, kind, files);
  } else if (has("spiece.model") && kind.value_or(Kind::t5) == Kind::t5) {
    files.source = path_of("spiece.model");
    controls = read_sentencepiece(folder / "spiece.model", config, files);
  } else if (has("vocab.json") && kind.value_or(Kind::clip) != Kind::t5) {
    files.source = path_of("vocab.json");
    files.vocabulary = parse_vocabulary(read_object(folder / "vocab.json"), files.source);
    if (!has("merges.txt")) fail("{}: there is no merges.txt beside it", files.source);
    files.merges = parse_merges_text(
        read_text(folder / "merges.txt"), files.vocabulary, path_of("merges.txt"));
    files.kind = kind.value_or(kind_of_vocabulary(files.vocabulary));
  } else {
    fail(
        "{}: no tokenizer here: expected tokenizer.json, {}",
        folder.string(),
        !kind               ? "spiece.model, or vocab.json and merges.txt"
        : *kind == Kind::t5 ? "or spiece.model"
                            : "or vocab.json and merges.txt");
  }
  read_settings(folder, std::move(config), saved, controls, files);
  return files;
}

}  // namespace

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder) {
  try {
    return read_files(folder);
  } catch (const nlohmann::json::exception& error) {
    // A value of another type than the ones provided for.
    fail("{}: {}", folder.string(), error.what());
  }
}

}  // namespace mflux::tokenizer
