// SPDX-License-Identifier: MIT
#include "mflux/models/config.h"

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"

namespace mflux::models {
namespace {

nlohmann::json parse(std::string_view text, std::string_view file) {
  if (text.empty()) return nlohmann::json::object();
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) fail("{} is not a JSON object", file);
  return json;
}

}  // namespace

std::string config_class(std::string_view text, std::string_view file) {
  const nlohmann::json json = parse(text, file);
  const auto found = json.find("_class_name");
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<uint64_t> config_number(
    std::string_view text, std::string_view key, std::string_view file) {
  const nlohmann::json json = parse(text, file);
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<uint64_t>();
}

bool config_flag(std::string_view text, std::string_view key, std::string_view file) {
  const nlohmann::json json = parse(text, file);
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace mflux::models
