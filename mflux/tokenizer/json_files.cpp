// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/json_files.h"

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/json.h"

namespace mflux::tokenizer {

nlohmann::json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return nlohmann::json::object();
  nlohmann::json object = read_json(file, kVocabularyJson);
  if (!object.is_object()) fail("{} is not a JSON object", file.string());
  return object;
}

const nlohmann::json& member(const nlohmann::json& object, std::string_view key) {
  static const nlohmann::json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

}  // namespace mflux::tokenizer
