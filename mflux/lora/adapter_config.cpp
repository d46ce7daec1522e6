// SPDX-License-Identifier: MIT
// PEFT's configuration, as JSON from a file or from metadata: its general rank and alpha, and
// patterns that give single layers others. A layer is looked for in the patterns in their order and
// the first that matches counts, as in PEFT; work is bounded, since both come from a stranger.
#include "mflux/lora/adapter_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mflux/base/json.h"
#include "mflux/lora/adapter_fields.h"

namespace mflux::lora {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxRank = 1'000'000;
constexpr size_t kMostComponents = 100;
// Of all patterns that are not plain text: they are asked about each layer.
constexpr size_t kMostSteps = 3000;

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

// "alpha" of "transformer.alpha".
std::string_view field_of(std::string_view key) {
  const size_t dot = key.rfind('.');
  return dot == key.npos ? key : key.substr(dot + 1);
}

bool is_field(std::string_view key) {
  return std::ranges::find(kFields, field_of(key)) != kFields.end();
}

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
  void read(const std::map<std::string, AdapterField>& fields) {
    for (const auto& [key, field] : fields) read_entry(key, field);
  }

  ParsedConfig take() && { return {std::move(config_), std::move(error_)}; }

 private:
  void fail(std::string_view what) {
    if (error_.empty()) error_ = what;
  }

  // The place of the rules that a key is about; null if there are too many.
  AdapterConfig::Rules* rules_of(const std::string& key) {
    const size_t dot = key.rfind('.');
    AdapterConfig::Rules& rules = config_.rules_[dot == key.npos ? "" : key.substr(0, dot)];
    if (config_.rules_.size() <= kMostComponents) return &rules;
    fail(fmt::format("is about more than {} components", kMostComponents));
    return nullptr;
  }

  void read_entry(const std::string& key, const AdapterField& stated) {
    const Json& value = *stated.value;
    const std::string_view field = field_of(key);
    if (value.is_null()) return;
    AdapterConfig::Rules* place = rules_of(key);
    if (place == nullptr) return;
    AdapterConfig::Rules& rules = *place;
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
    if (field == "lora_parameters") {
      for (const auto& [name, member] : stated.members) {
        if (name == "scale") rules.scale = number(key, *member);
      }
    }
    if (field == "init_lora_weights" && value.is_string()) rules.initialization = value;
    if (field == "alpha_pattern") {
      read_patterns(key, stated, rules.alphas, [&](const Json& v) { return number(key, v); });
      for (const auto& [text, alpha] : stated.members) rules.alpha_texts.push_back(text);
    }
    if (field == "rank_pattern") {
      read_patterns(key, stated, rules.ranks, [&](const Json& v) { return rank(key, v); });
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
      const AdapterField& object,
      std::vector<std::pair<Pattern, Value>>& out,
      Read read_value) {
    if (!object.value->is_object()) return fail(fmt::format("'{}' is not an object", key));
    for (const auto& [text, value] : object.members) {
      std::optional<Pattern> pattern = Pattern::parse(text);
      if (!pattern)
        return fail(fmt::format("'{}' has the pattern '{}', which is not read", key, text));
      steps_ += pattern->steps();
      if (steps_ > kMostSteps) {
        return fail(fmt::format("has patterns of more than {} steps at '{}'", kMostSteps, text));
      }
      out.emplace_back(std::move(*pattern), read_value(*value));
    }
  }

  AdapterConfig config_;
  std::string error_;
  size_t steps_ = 0;
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
  std::string error;
  const auto fields = read_adapter_fields(text, is_field, error);
  if (!error.empty()) return {{}, error};
  ConfigReader reader;
  reader.read(fields);
  return std::move(reader).take();
}

bool is_read_from_metadata(std::string_view key) {
  return std::ranges::find(kPlainKeys, key, &PlainKey::key) != kPlainKeys.end();
}

ParsedConfig metadata_config(const safetensors::Metadata& metadata) {
  if (const auto found = metadata.find("lora_adapter_metadata"); found != metadata.end()) {
    return parse_adapter_config(found->second);
  }
  std::map<std::string, AdapterField> fields;
  for (const PlainKey& plain : kPlainKeys) {
    const auto found = metadata.find(std::string(plain.key));
    if (found == metadata.end()) continue;
    // What is not JSON is not a number either.
    auto value = std::make_shared<const Json>(find_json(found->second).value_or(found->second));
    fields[std::string(plain.field)] = {.value = std::move(value)};
  }
  ConfigReader reader;
  reader.read(fields);
  return std::move(reader).take();
}

}  // namespace mflux::lora
