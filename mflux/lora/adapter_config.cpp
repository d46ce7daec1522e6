// SPDX-License-Identifier: MIT
#include "mflux/lora/adapter_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace mflux::lora {

namespace {

using Json = nlohmann::ordered_json;  // of patterns the first counts

constexpr size_t kMaxConfigBytes = 1'000'000;
constexpr uint64_t kMaxRank = 1'000'000;

// PEFT's initializations that subtract the first LoRA from the model, so that the file alone is not
// the change.
constexpr std::array<std::string_view, 5> kChangedBase = {
    "pissa", "olora", "loftq", "corda", "eva"};

constexpr std::array<std::string_view, 12> kFields = {
    "lora_alpha",
    "r",
    "use_rslora",
    "alpha_pattern",
    "rank_pattern",
    "init_lora_weights",
    "peft_type",
    "alpha",
    "use_cayley_neumann",
    "num_cayley_neumann_terms",
    "coft",
    "lora_parameters"};
constexpr uint64_t kMaxTerms = 100;

// Keys of the metadata that stand for a field, as plain strings.
struct PlainKey {
  std::string_view key;
  std::string_view field;
};
constexpr std::array kPlainKeys = {
    PlainKey{"lora_alpha", "lora_alpha"},
    PlainKey{"network_alpha", "lora_alpha"},
    PlainKey{"transformer.lora_alpha", "transformer.lora_alpha"},
    PlainKey{"transformer.r", "transformer.r"},
};

template <typename Value>
const Value* first_match(
    const std::vector<std::pair<Pattern, Value>>& rules, std::string_view module) {
  const auto found =
      std::ranges::find_if(rules, [&](const auto& rule) { return rule.first.matches(module); });
  return found == rules.end() ? nullptr : &found->second;
}

}  // namespace

// Keeps the first thing that is wrong.
class ConfigReader {
 public:
  void read(const Json& object) {
    if (!object.is_object()) return fail("is not an object");
    for (const auto& [key, value] : object.items()) read_entry(key, value);
  }

  ParsedConfig take() && { return {std::move(config_), std::move(error_)}; }

 private:
  void fail(std::string_view what) {
    if (error_.empty()) error_ = what;
  }

  void read_entry(const std::string& key, const Json& value) {
    const size_t dot = key.rfind('.');
    const std::string component = dot == std::string::npos ? "" : key.substr(0, dot);
    const std::string field = dot == std::string::npos ? key : key.substr(dot + 1);
    if (value.is_null() || std::ranges::find(kFields, field) == kFields.end()) return;
    AdapterConfig::Rules& rules = config_.rules_[component];
    if (field == "lora_alpha") rules.alpha = number(key, value);
    if (field == "r") rules.rank = rank(key, value);
    if (field == "use_rslora") rules.rank_stabilized = boolean(key, value);
    if (field == "peft_type" && value.is_string()) rules.method = value;
    if (field == "alpha" && value.is_number()) rules.own_alpha = number(key, value);
    if (field == "use_cayley_neumann") rules.oft.uses_series = boolean(key, value);
    if (field == "coft") rules.oft.constrained = boolean(key, value);
    if (field == "num_cayley_neumann_terms") {
      rules.oft.terms = rank(key, value);
      if (rules.oft.terms == 0 || rules.oft.terms > kMaxTerms) {
        fail(fmt::format("'{}' is not between 1 and {}", key, kMaxTerms));
      }
    }
    if (field == "lora_parameters" && value.is_object() && value.contains("scale")) {
      rules.scale = number(key, value["scale"]);
    }
    if (field == "init_lora_weights" && value.is_string()) rules.initialization = value;
    if (field == "alpha_pattern") {
      read_patterns(key, value, rules.alphas, [&](const Json& v) { return number(key, v); });
      for (const auto& [text, alpha] : value.items()) rules.alpha_texts.push_back(text);
    }
    if (field == "rank_pattern") {
      read_patterns(key, value, rules.ranks, [&](const Json& v) { return rank(key, v); });
    }
  }

  double number(const std::string& key, const Json& value) {
    if (value.is_number() && std::isfinite(value.get<double>())) return value.get<double>();
    fail(fmt::format("'{}' is not a number", key));
    return 0;
  }

  bool boolean(const std::string& key, const Json& value) {
    if (value.is_boolean()) return value.get<bool>();
    fail(fmt::format("'{}' is not true or false", key));
    return false;
  }

  uint64_t rank(const std::string& key, const Json& value) {
    if (value.is_number_unsigned() && value.get<uint64_t>() <= kMaxRank) {
      return value.get<uint64_t>();
    }
    fail(fmt::format("'{}' is not a rank", key));
    return 0;
  }

  template <typename Value, typename Read>
  void read_patterns(
      const std::string& key,
      const Json& object,
      std::vector<std::pair<Pattern, Value>>& out,
      Read read_value) {
    if (!object.is_object()) return fail(fmt::format("'{}' is not an object", key));
    for (const auto& [text, value] : object.items()) {
      std::optional<Pattern> pattern = Pattern::parse(text);
      if (!pattern)
        return fail(fmt::format("'{}' has the pattern '{}', which is not read", key, text));
      out.emplace_back(std::move(*pattern), read_value(value));
    }
  }

  AdapterConfig config_;
  std::string error_;
};

namespace {

// PEFT's LoHa and LoKr call it "alpha", its LoRA "lora_alpha".
bool has_own_alpha(const AdapterConfig::Rules& rules) {
  return rules.method == "LOHA" || rules.method == "LOKR";
}

}  // namespace

std::optional<ModuleConfig> AdapterConfig::find(
    std::string_view component, std::string_view module) const {
  const Rules* found = this->rules(component);
  if (found == nullptr) return std::nullopt;
  const Rules& rules = *found;
  const std::optional<double> general = has_own_alpha(rules) ? rules.own_alpha : rules.alpha;
  const double* alpha = first_match(rules.alphas, module);
  if (alpha == nullptr && !general && !rules.scale) return std::nullopt;
  ModuleConfig config;
  config.alpha = alpha != nullptr ? *alpha : general.value_or(0);
  if (alpha == nullptr && !general) config.scale = rules.scale;
  const uint64_t* rank = first_match(rules.ranks, module);
  config.rank = rank != nullptr ? std::optional(*rank) : rules.rank;
  config.rank_stabilized = rules.rank_stabilized;
  config.is_lokr = rules.method == "LOKR";
  return config;
}

std::vector<std::string> AdapterConfig::unused_alphas(
    std::span<const std::pair<std::string, std::string>> layers) const {
  std::vector<std::string> unused;
  for (const auto& [component, rules] : rules_) {
    std::set<const double*> used;  // values of patterns
    bool has_layers = false;
    for (const auto& [of, name] : layers) {
      if (this->rules(of) != &rules) continue;
      has_layers = true;
      used.insert(first_match(rules.alphas, name));
    }
    const auto add = [&, &component = component](std::string_view field, double value) {
      const std::string_view dot = component.empty() ? "" : ".";
      unused.push_back(fmt::format("{}{}{} = {:g}", component, dot, field, value));
    };
    const bool has_own = has_own_alpha(rules);
    if (rules.alpha && (!has_layers || has_own)) add("lora_alpha", *rules.alpha);
    if (rules.own_alpha && (!has_layers || !has_own)) add("alpha", *rules.own_alpha);
    for (size_t i = 0; i < rules.alphas.size(); ++i) {
      const double& value = rules.alphas[i].second;
      if (used.contains(&value)) continue;
      add(fmt::format("alpha_pattern '{}'", rules.alpha_texts[i]), value);
    }
  }
  return unused;
}

const AdapterConfig::Rules* AdapterConfig::rules(std::string_view component) const {
  auto found = rules_.find(component);
  if (found == rules_.end()) found = rules_.find("");
  return found == rules_.end() ? nullptr : &found->second;
}

const OftConfig* AdapterConfig::find_oft(std::string_view component) const {
  const Rules* found = rules(component);
  return found != nullptr && found->method == "OFT" ? &found->oft : nullptr;
}

std::string_view AdapterConfig::changed_base() const {
  for (const auto& [component, rules] : rules_) {
    for (const std::string_view method : kChangedBase) {
      if (rules.initialization.starts_with(method)) return rules.initialization;
    }
  }
  return "";
}

ParsedConfig parse_adapter_config(std::string_view text) {
  if (text.size() > kMaxConfigBytes) {
    return {{}, fmt::format("has {} bytes, expected at most {}", text.size(), kMaxConfigBytes)};
  }
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return {{}, "is not valid JSON"};
  ConfigReader reader;
  reader.read(json);
  return std::move(reader).take();
}

bool is_read_from_metadata(std::string_view key) {
  return std::ranges::find(kPlainKeys, key, &PlainKey::key) != kPlainKeys.end();
}

ParsedConfig metadata_config(const safetensors::Metadata& metadata) {
  if (const auto found = metadata.find("lora_adapter_metadata"); found != metadata.end()) {
    return parse_adapter_config(found->second);
  }
  Json object = Json::object();
  for (const PlainKey& plain : kPlainKeys) {
    const auto found = metadata.find(std::string(plain.key));
    if (found == metadata.end()) continue;
    object[std::string(plain.field)] = Json::parse(found->second, nullptr, false);
  }
  ConfigReader reader;
  reader.read(object);
  return std::move(reader).take();
}

}  // namespace mflux::lora
