// SPDX-License-Identifier: MIT
// A component's config.json, read strictly: a value that is there is well-formed or refused.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace mflux::models {

// Throws Error, naming the file, if the text is not a JSON object. An empty text has nothing.
class Config {
 public:
  Config(std::string_view text, std::string_view component);
  ~Config();
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  const std::string& file() const { return file_; }
  // The value of a key; null if there is none. Those of a language model are in text_config, or,
  // written by older versions of transformers, at the top; "a/b" is b within the object a. Throws
  // Error if a is no object.
  const nlohmann::json* find(std::string_view key) const;

 private:
  std::string file_;
  std::unique_ptr<const nlohmann::json> values_;
};

// All throw Error, naming `file`, if the text is not a JSON object or the value has another type.
std::string config_class(std::string_view text, std::string_view file);  // _class_name; "" if none
// Of attention: hidden_size / the number of heads, and the base of rotary frequencies. `section`
// names an object within; empty: the language model, in text_config if there is one.
std::optional<uint64_t> config_head_width(
    std::string_view text, std::string_view section, std::string_view file);
std::optional<double> config_rope_base(
    std::string_view text, std::string_view section, std::string_view file);
bool config_flag(std::string_view text, std::string_view key, std::string_view file);

}  // namespace mflux::models
