// SPDX-License-Identifier: MIT
#include "mflux/tokenizer/json_files.h"

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::tokenizer {

nlohmann::json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return nlohmann::json::object();
  nlohmann::json object = nlohmann::json::parse(read_text(file), nullptr, false);
  if (object.is_discarded()) fail("{} is not valid JSON", file.string());
  if (!object.is_object()) fail("{} is not a JSON object", file.string());
  return object;
}

std::string excerpt(const nlohmann::json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true);  // ASCII only: it can be cut anywhere
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

}  // namespace mflux::tokenizer
