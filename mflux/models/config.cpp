// SPDX-License-Identifier: MIT
#include "mflux/models/config.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"

namespace mflux::models {
namespace {

nlohmann::json parse(std::string_view text, std::string_view file) {
  if (text.empty()) return nlohmann::json::object();
  nlohmann::json json = parse_json(text, file);
  if (!json.is_object()) fail("{} is not a JSON object", file);
  return json;
}

nlohmann::json section_of(std::string_view text, std::string_view section, std::string_view file) {
  nlohmann::json json = parse(text, file);
  const auto found = json.find(section.empty() ? "text_config" : section);
  if (found != json.end() && found->is_object()) return std::exchange(*found, {});
  return section.empty() ? json : nlohmann::json::object();
}

std::optional<uint64_t> positive(const nlohmann::json& json, std::string_view key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  const auto value = found->get<uint64_t>();
  return value == 0 ? std::nullopt : std::optional(value);
}

}  // namespace

Config::Config(std::string_view text, std::string_view component)
    : file_(std::string(component) + "/config.json"),
      values_(std::make_unique<nlohmann::json>(parse(text, file_))) {}

Config::~Config() = default;

const nlohmann::json* Config::find(std::string_view key) const {
  const nlohmann::json* object = values_.get();
  const auto text = object->find("text_config");
  const bool nested = text != object->end() && text->is_object();
  if (nested) object = &*text;
  const size_t slash = key.find('/');
  if (slash != key.npos) {
    const std::string_view name = key.substr(0, slash);
    auto section = object->find(name);
    if (section == object->end() && nested) {
      object = values_.get();
      section = object->find(name);
    }
    if (section == object->end() || section->is_null()) return nullptr;
    if (!section->is_object()) {
      fail("{}: {} is {}, expected an object", file_, name, excerpt(*section));
    }
    object = &*section;
    key.remove_prefix(slash + 1);
  }
  const auto found = object->find(key);
  return found == object->end() ? nullptr : &*found;
}

std::string config_class(std::string_view text, std::string_view file) {
  const nlohmann::json json = parse(text, file);
  const auto found = json.find("_class_name");
  if (found == json.end() || found->is_null()) return "";
  if (!found->is_string()) {
    fail("{}: _class_name is {}, expected a text", file, excerpt(*found));
  }
  return found->get<std::string>();
}

std::optional<uint64_t> config_head_width(
    std::string_view text, std::string_view section, std::string_view file) {
  const nlohmann::json json = section_of(text, section, file);
  const std::optional<uint64_t> hidden = positive(json, "hidden_size");
  std::optional<uint64_t> heads = positive(json, "num_attention_heads");
  if (!heads) heads = positive(json, "num_heads");
  if (!hidden || !heads) return std::nullopt;
  return *hidden / *heads;
}

std::optional<double> config_rope_base(
    std::string_view text, std::string_view section, std::string_view file) {
  const nlohmann::json json = section_of(text, section, file);
  for (const nlohmann::json& place : {json, json.value("rope_parameters", nlohmann::json())}) {
    if (!place.is_object()) continue;
    const auto found = place.find("rope_theta");
    if (found != place.end() && found->is_number()) return found->get<double>();
  }
  return std::nullopt;
}

bool config_flag(std::string_view text, std::string_view key, std::string_view file) {
  const nlohmann::json json = parse(text, file);
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return false;
  if (!found->is_boolean()) {
    fail("{}: {} is {}, expected true or false", file, key, excerpt(*found));
  }
  return found->get<bool>();
}

}  // namespace mflux::models
