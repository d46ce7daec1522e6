// SPDX-License-Identifier: MIT
// The settings in a model's JSON files (config.json, scheduler_config.json and so on), read
// strictly: a value that is there is what is expected, or refused by file and key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mflux::models {

// More than any model has of anything.
constexpr int kMostCounted = 1'000'000;

// Throws Error, naming the file, if the text is not a JSON object. An empty text has nothing.
//
// Values of a language model are in text_config, or, written by older versions of transformers, at
// the top. The key "a/b" is b within the object a.
class Config {
 public:
  Config(std::string_view text, std::string file);
  ~Config();
  Config(Config&&) noexcept;
  Config& operator=(Config&&) = delete;

  const std::string& file() const { return file_; }

  // The value of a key; null if there is none. Throws Error if a is not an object.
  const nlohmann::json* find(std::string_view key) const;

  // None without the key; null says as little. All throw Error, naming file, key and what was
  // found and expected.
  std::optional<int> count(std::string_view key, int most = kMostCounted) const;  // from 1
  std::optional<double> real(std::string_view key) const;  // that a float32 can hold
  std::optional<bool> flag(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<int>> wholes(std::string_view key) const;  // 0 to kMostCounted each
  std::optional<std::vector<float>> reals(std::string_view key) const;

 private:
  const nlohmann::json* stated(std::string_view key) const;
  [[noreturn]] void refuse(
      std::string_view key, const nlohmann::json& value, std::string_view expected) const;

  std::string file_;
  std::unique_ptr<const nlohmann::json> values_;
};

// Of a file that need not be there: without it nothing is said.
Config read_config(const std::filesystem::path& file);

// All throw Error, naming `file`, if the text is not a JSON object or the value has another type.
std::string config_class(std::string_view text, std::string_view file);  // _class_name; "" if none
// Of attention: hidden_size / the number of heads, and the base of rotary frequencies. `section`
// names an object within; empty: the language model.
std::optional<uint64_t> config_head_width(
    std::string_view text, std::string_view section, std::string_view file);
std::optional<double> config_rope_base(
    std::string_view text, std::string_view section, std::string_view file);
bool config_flag(std::string_view text, std::string_view key, std::string_view file);

}  // namespace mflux::models
