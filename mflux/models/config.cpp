// SPDX-License-Identifier: MIT
#include "mflux/models/config.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/json.h"

namespace mflux::models {
namespace {

nlohmann::json parse(std::string_view text, std::string_view file) {
  if (text.empty()) return nlohmann::json::object();
  nlohmann::json json = parse_json(text, file);
  if (!json.is_object()) fail("{} is not a JSON object", file);
  return json;
}

std::string prefix_of(std::string_view section) {
  return section.empty() ? "" : std::string(section) + "/";
}

}  // namespace

Config::Config(std::string_view text, std::string file)
    : file_(std::move(file)), values_(std::make_unique<nlohmann::json>(parse(text, file_))) {
  if (const nlohmann::json* section = stated("text_config")) {
    if (!section->is_object()) refuse("text_config", *section, "an object");
  }
}

Config::~Config() = default;
Config::Config(Config&&) noexcept = default;

const nlohmann::json* Config::find(std::string_view key) const {
  const nlohmann::json* object = values_.get();
  const auto text = object->find("text_config");
  const bool nested = text != object->end() && text->is_object();
  if (nested) object = &*text;
  for (size_t slash = key.find('/'); slash != key.npos; slash = key.find('/')) {
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

const nlohmann::json* Config::stated(std::string_view key) const {
  const nlohmann::json* value = find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Config::refuse(
    std::string_view key, const nlohmann::json& value, std::string_view expected) const {
  fail("{}: {} is {}, expected {}", file_, key, excerpt(value), expected);
}

std::optional<int> Config::count(std::string_view key, int most) const {
  const nlohmann::json* value = stated(key);
  if (value == nullptr) return std::nullopt;
  const auto number = whole_number(*value, static_cast<uint64_t>(most));
  if (number && *number != 0) return static_cast<int>(*number);
  refuse(key, *value, fmt::format("a number from 1 to {}", most));
}

std::optional<double> Config::real(std::string_view key) const {
  const nlohmann::json* value = stated(key);
  if (value == nullptr) return std::nullopt;
  if (!float_number(*value)) refuse(key, *value, "a number");
  return value->get<double>();
}

std::optional<bool> Config::flag(std::string_view key) const {
  const nlohmann::json* value = stated(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) refuse(key, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> Config::text(std::string_view key) const {
  const nlohmann::json* value = stated(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse(key, *value, "a text");
  return value->get<std::string>();
}

std::optional<std::vector<int>> Config::wholes(std::string_view key) const {
  const nlohmann::json* list = stated(key);
  if (list == nullptr) return std::nullopt;
  const auto is_whole = [](const auto& value) {
    return whole_number(value, kMostCounted).has_value();
  };
  if (list->is_array() && std::ranges::all_of(*list, is_whole))
    return list->get<std::vector<int>>();
  refuse(key, *list, fmt::format("a list of numbers from 0 to {}", kMostCounted));
}

std::optional<std::vector<float>> Config::reals(std::string_view key) const {
  const nlohmann::json* list = stated(key);
  if (list == nullptr) return std::nullopt;
  const auto is_real = [](const auto& value) { return float_number(value).has_value(); };
  if (list->is_array() && std::ranges::all_of(*list, is_real)) {
    return list->get<std::vector<float>>();
  }
  refuse(key, *list, "a list of numbers");
}

Config read_config(const std::filesystem::path& file) {
  return {std::filesystem::is_regular_file(file) ? read_text(file) : "", file.string()};
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
  const Config config(text, std::string(file));
  const std::string in = prefix_of(section);
  const auto hidden = config.count(in + "hidden_size");
  auto heads = config.count(in + "num_attention_heads");
  if (!heads) heads = config.count(in + "num_heads");
  if (!hidden || !heads) return std::nullopt;
  return static_cast<uint64_t>(*hidden / *heads);
}

std::optional<double> config_rope_base(
    std::string_view text, std::string_view section, std::string_view file) {
  const Config config(text, std::string(file));
  const std::string in = prefix_of(section);
  if (const auto base = config.real(in + "rope_theta")) return base;
  return config.real(in + "rope_parameters/rope_theta");
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
