// SPDX-License-Identifier: MIT
// The rules of transformers' classes: tokenizer_config.json counts, what the other files say is
// merged into it in the order in which transformers reads them, and a role that nobody names gets
// the class's default. Then ids are given as the Rust library gives them, batch by batch.
#include "mflux/tokenizer/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"
#include "mflux/tokenizer/json_files.h"

namespace mflux::tokenizer {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 7> kRoles = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

// What the class of transformers takes where the folder does not name a token.
std::string_view default_token(Kind kind, std::string_view role) {
  switch (kind) {
    case Kind::clip:
      if (role == "bos_token") return "<|startoftext|>";
      return role == "eos_token" || role == "unk_token" || role == "pad_token" ? "<|endoftext|>"
                                                                               : "";
    case Kind::qwen2:
      return role == "eos_token" || role == "unk_token" || role == "pad_token" ? "<|endoftext|>"
                                                                               : "";
    case Kind::t5:
      if (role == "eos_token") return "</s>";
      if (role == "unk_token") return "<unk>";
      return role == "pad_token" ? "<pad>" : "";
  }
  return "";
}

// Qwen2 has some dozens of added tokens, T5 a hundred; each takes many times its bytes.
constexpr size_t kMostTokens = 2000;

void check_count(size_t count, std::string_view file) {
  if (count > kMostTokens) fail("{}: more than {} added tokens", file, kMostTokens);
}

bool flag(const json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

bool holds_token(const json& value) {
  return value.is_string() || (value.is_object() && value.contains("content"));
}

AddedToken plain_token(std::string content) {
  return {.content = std::move(content), .special = true, .normalized = false, .plain = true};
}

// A text, or an object with flags.
AddedToken parse_token(const json& value, std::string_view file) {
  if (value.is_string()) return plain_token(value.get<std::string>());
  const json& content = member(value, "content");
  if (!content.is_string()) fail("{}: {} is not a token", file, excerpt(value));
  const bool special = flag(value, "special", false);
  return {
      .content = content.get<std::string>(),
      .special = special,
      .normalized = flag(value, "normalized", !special),
      .single_word = flag(value, "single_word", false),
      .left_strip = flag(value, "lstrip", false),
      .right_strip = flag(value, "rstrip", false)};
}

std::vector<AddedToken> parse_tokens(const json& list, std::string_view file) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) fail("{}: {} is not a list of tokens", file, excerpt(list));
  check_count(list.size(), file);
  for (const json& value : list) tokens.push_back(parse_token(value, file));
  return tokens;
}

int32_t parse_id(const json& id, std::string_view token, std::string_view file) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kLargestId})
    fail("{}: the added token '{}' has the id {}", file, token, excerpt(id));
  return id.get<int32_t>();
}

void declare(TokenizerFiles& files, int32_t id, AddedToken token, std::string_view file) {
  check_count(files.added.size(), file);
  const auto [same, fresh] = files.added.emplace(id, token);
  if (!fresh && same->second.content != token.content) {
    fail(
        "{}: the added tokens '{}' and '{}' have the id {}",
        file,
        same->second.content,
        token.content,
        id);
  }
  same->second = std::move(token);
}

// The keys of tokenizer_config.json, with those of the other files where they count.
class Reader {
 public:
  Reader(const std::filesystem::path& folder, json config, TokenizerFiles& files)
      : folder_(folder),
        config_file_((folder / "tokenizer_config.json").string()),
        values_(std::move(config)),
        files_(files) {}

  void read_added(const json& saved) {
    move_additional();
    if (const auto listed = values_.find("added_tokens_decoder"); listed != values_.end()) {
      if (!listed->is_object()) fail("{}: added_tokens_decoder is not an object", config_file_);
      for (const auto& [key, value] : listed->items()) {
        int32_t id = -1;
        const char* end = key.data() + key.size();
        const auto [stopped, error] = std::from_chars(key.data(), end, id);
        if (error != std::errc() || stopped != end || id < 0 || id > kLargestId)
          fail("{}: added_tokens_decoder has the id '{}'", config_file_, key);
        declare(files_, id, parse_token(value, config_file_), config_file_);
      }
      return;
    }
    read_special_map();
    read_added_file();
    const json& added = member(saved, "added_tokens");
    if (!added.is_array() && saved.contains("added_tokens")) {
      fail("{}: added_tokens is not a list", files_.source);
    }
    for (const json& value : added) {
      AddedToken token = parse_token(value, files_.source);
      const int32_t id = parse_id(member(value, "id"), token.content, files_.source);
      declare(files_, id, std::move(token), files_.source);
    }
  }

  void read_named() {
    // Of a text that two ids stand for the last counts.
    for (const auto& [id, token] : files_.added) declared_.insert_or_assign(token.content, &token);
    for (const std::string_view role : kRoles) {
      const auto value = values_.find(role);
      if (value == values_.end()) {
        const std::string_view content = default_token(files_.kind, role);
        if (!content.empty()) name(role, plain_token(std::string(content)));
      } else if (!value->is_null()) {
        name(role, parse_token(*value, config_file_));
      }
    }
    // Roles that only this model has: "image_token".
    const auto is_role = [](std::string_view key) { return std::ranges::count(kRoles, key) != 0; };
    for (const auto& [key, value] : values_.items()) {
      if (key.ends_with("_token") && !is_role(key) && holds_token(value))
        name(key, parse_token(value, config_file_));
    }
    const auto extra = values_.find("extra_special_tokens");
    if (extra == values_.end() || !extra->is_object()) return;
    for (const auto& [key, value] : extra->items()) name(key, parse_token(value, config_file_));
    *extra = nullptr;
  }

  void read_extra(const std::vector<AddedToken>& controls) {
    const auto additional = values_.find("additional_special_tokens");
    std::vector<AddedToken> given = controls;
    if (controls.empty() && additional != values_.end())
      given = parse_tokens(*additional, config_file_);
    if (files_.kind == Kind::t5 && std::ranges::none_of(given, is_sentinel)) {
      const int64_t count = sentinel_count(values_, config_file_);
      for (int64_t i = 0; i < count; ++i)
        given.push_back(plain_token(fmt::format("<extra_id_{}>", i)));
    }
    const auto extra = values_.find("extra_special_tokens");
    files_.extra = extra != values_.end() ? parse_tokens(*extra, config_file_) : given;
  }

  // Of qwen2, whose class leaves it to the files what goes around a text.
  void read_template(const json& saved) {
    if (saved.empty()) {
      if (flag(values_, "add_bos_token", false)) add_named("bos_token", files_.prefix);
      if (flag(values_, "add_eos_token", false)) add_named("eos_token", files_.suffix);
      return;
    }
    read_processor(saved.value("post_processor", json()));
  }

  void add_named(std::string_view role, std::vector<std::string>& where) {
    for (const auto& [name, token] : files_.named) {
      if (name == role) where.push_back(token.content);
    }
  }

  bool is_left(const char* key, const json& saved_setting) {
    json side = values_.value(key, json());
    if (side.is_null() && saved_setting.is_object()) {
      const json direction = saved_setting.value("direction", json());
      side = direction == "Left" ? "left" : "right";
    }
    if (side.is_null() || side == "right") return false;
    if (side != "left") fail("{}: {} is {}", config_file_, key, excerpt(side));
    return true;
  }

  bool setting(const char* key) const { return flag(values_, key, false); }

 private:
  static bool is_sentinel(const AddedToken& token) {
    return token.content.find("<extra_id_") != std::string::npos;
  }

  void name(std::string_view role, AddedToken token) {
    check_count(files_.named.size(), config_file_);
    const auto declared = declared_.find(token.content);
    if (declared != declared_.end()) token = *declared->second;
    files_.named.emplace_back(role, std::move(token));
  }

  // An older name of the same list.
  void move_additional() {
    const auto old = values_.find("additional_special_tokens");
    if (old == values_.end()) return;
    const json extra = values_.value("extra_special_tokens", json());
    if (!extra.is_null() && !extra.empty()) return;
    values_["extra_special_tokens"] = json(*old);
    values_.erase("additional_special_tokens");
  }

  void read_special_map() {
    const json map = read_object(folder_ / "special_tokens_map.json");
    for (const auto& [key, value] : map.items()) {
      json& place = values_[key];
      if (key == "extra_special_tokens" && value.is_array()) {
        if (!place.is_array()) place = json::array();
        std::set<json> there(place.begin(), place.end());
        for (const json& token : value) {
          if (there.insert(token).second) place.push_back(token);
        }
        continue;
      }
      place = value;
      if (place.is_object() && key != "extra_special_tokens") place["special"] = true;
    }
  }

  // added_tokens.json does not say which of its tokens are special.
  void read_added_file() {
    const std::filesystem::path path = folder_ / "added_tokens.json";
    std::set<std::string> special;
    for (const std::string_view role : kRoles) {
      const json value = values_.value(std::string(role), json());
      if (holds_token(value)) special.insert(parse_token(value, config_file_).content);
    }
    const json extra = values_.value("extra_special_tokens", json());
    if (extra.is_array()) {
      for (const AddedToken& token : parse_tokens(extra, config_file_))
        special.insert(token.content);
    }
    const json added = read_object(path);
    for (const auto& [content, id] : added.items()) {
      const bool is_special = special.contains(content);
      AddedToken token = {.content = content, .special = is_special, .normalized = !is_special};
      declare(files_, parse_id(id, content, path.string()), std::move(token), path.string());
    }
  }

  // ByteLevel adds nothing; a template lists what goes before and after the sequence.
  void read_processor(const json& processor) {
    if (processor.is_null()) return;
    const json type = processor.is_object() ? processor.value("type", json()) : json();
    if (type == "ByteLevel") return;
    if (type == "Sequence") {
      for (const json& inner : processor.value("processors", json::array())) read_processor(inner);
      return;
    }
    if (type != "TemplateProcessing")
      fail("{}: the post-processor {} is not known", files_.source, excerpt(processor));
    bool before = true;
    for (const json& step : processor.value("single", json::array())) {
      if (step.is_object() && step.contains("Sequence")) {
        before = false;
        continue;
      }
      const json token = step.is_object() ? step.value("SpecialToken", json()) : json();
      const json id = token.is_object() ? token.value("id", json()) : json();
      if (!id.is_string()) fail("{}: a template with {}", files_.source, excerpt(step));
      (before ? files_.prefix : files_.suffix).push_back(id.get<std::string>());
    }
  }

  const std::filesystem::path& folder_;
  std::string config_file_;
  json values_;
  TokenizerFiles& files_;
  std::map<std::string_view, const AddedToken*> declared_ = {};  // by its text
};

// Numbers tokens as the Rust library does: one call of add() is one batch.
class Numbering {
 public:
  explicit Numbering(const TokenizerFiles& files) : files_(files) {}

  void add(const std::vector<AddedToken>& batch) {
    const auto size = static_cast<int32_t>(files_.vocabulary.size());
    int32_t next = by_id_.empty() ? size : std::max(by_id_.rbegin()->first + 1, size);
    for (const AddedToken& token : batch) {
      if (token.content.empty()) continue;
      const auto known = files_.vocabulary.find(token.content);
      const auto added = ids_.find(token.content);
      int32_t id = next;
      if (added != ids_.end())
        id = added->second;
      else if (known != files_.vocabulary.end())
        id = known->second;
      else
        ++next;
      ids_[token.content] = id;
      by_id_[id] = token;
    }
  }

  std::map<int32_t, AddedToken> take() { return std::move(by_id_); }
  int32_t id_of(const std::string& content) const { return ids_.at(content); }

 private:
  const TokenizerFiles& files_;
  std::map<std::string, int32_t> ids_;
  std::map<int32_t, AddedToken> by_id_;
};

}  // namespace

int64_t sentinel_count(const json& config, std::string_view file) {
  constexpr int64_t kUsual = 100;
  constexpr uint64_t kMany = 1'000;
  if (!config.contains("extra_ids")) return kUsual;
  const json& count = config["extra_ids"];
  if (!count.is_number_unsigned() || count.get<uint64_t>() > kMany)
    fail("{}: extra_ids is {}, expected 0 to {}", file, excerpt(count), kMany);
  return count.get<int64_t>();
}

void read_settings(
    const std::filesystem::path& folder,
    json config,
    const json& saved,
    const std::vector<AddedToken>& controls,
    TokenizerFiles& files) {
  Reader reader(folder, std::move(config), files);
  reader.read_added(saved);
  reader.read_named();
  reader.read_extra(controls);
  switch (files.kind) {
    case Kind::clip:
      reader.add_named("bos_token", files.prefix);
      reader.add_named("eos_token", files.suffix);
      break;
    case Kind::qwen2:
      reader.read_template(saved);
      break;
    case Kind::t5:
      reader.add_named("eos_token", files.suffix);
      break;
  }
  files.split_special = reader.setting("split_special_tokens");
  files.pad_left = reader.is_left("padding_side", saved.value("padding", json()));
  files.truncate_left = reader.is_left("truncation_side", saved.value("truncation", json()));
}

std::map<int32_t, AddedToken> number_added_tokens(const TokenizerFiles& files) {
  std::vector<AddedToken> batch;
  std::set<std::string> declared;
  for (const auto& [id, token] : files.added) {
    batch.push_back(token);
    declared.insert(token.content);
  }
  std::vector<AddedToken> special;
  for (const auto& [role, token] : files.named) special.push_back(token);
  special.insert(special.end(), files.extra.begin(), files.extra.end());
  std::set<AddedToken> there(batch.begin(), batch.end());
  for (const AddedToken& token : special) {
    // Twice with other flags is twice: the flags that come last count.
    if (!declared.contains(token.content) && there.insert(token).second) batch.push_back(token);
  }
  std::set<std::string> roles;
  for (const auto& [role, token] : files.named) roles.insert(token.content);
  for (AddedToken& token : batch) token.special = token.special || roles.contains(token.content);

  Numbering numbering(files);
  numbering.add(batch);
  for (const auto& [id, token] : files.added) {
    if (token.content.empty()) continue;
    const int32_t number = numbering.id_of(token.content);
    if (number == id) continue;
    fail(
        "{}: the added token '{}' should have the id {}, but the vocabulary makes it {}",
        files.source,
        token.content,
        id,
        number);
  }
  if (files.kind == Kind::qwen2) {
    // Its class adds them once more, without their flags.
    std::vector<AddedToken> again;
    for (const AddedToken& token : special) again.push_back(plain_token(token.content));
    numbering.add(again);
  }
  return numbering.take();
}

}  // namespace mflux::tokenizer
