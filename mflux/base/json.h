// SPDX-License-Identifier: MIT
// JSON of unknown origin. Whatever the bytes, its size, its depth and the memory that its values
// take are limited before anything is built, and every surprise is an Error that names the file.
//
//   const nlohmann::json config = read_json(folder / "config.json");
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace mflux {

struct JsonLimits {
  uint64_t bytes = 1'000'000;  // of the text; a configuration has some thousand
  size_t depth = 64;           // of objects and lists within each other
  uint64_t times = 7;          // memory of what it becomes, in bytes of the text, and 300 kB more
};

// Of receipts, which are long.
inline constexpr JsonLimits kLongJson = {.bytes = 100'000'000};
// Of tokenizers: written without blanks, merges that are lists of two become 20 times as long.
inline constexpr JsonLimits kVocabularyJson = {.bytes = 100'000'000, .times = 24};

// Throws Error, naming `file`, if the text is not JSON in UTF-8 or exceeds a limit. Of a key
// that is there twice the last value counts.
nlohmann::json parse_json(std::string_view text, std::string_view file, JsonLimits limits = {});
nlohmann::json read_json(const std::filesystem::path& file, JsonLimits limits = {});

// The same of a text that may be something else; none where those throw.
std::optional<nlohmann::json> find_json(std::string_view text, JsonLimits limits = {});

// What is wrong with the size, the encoding or the depth of a text, in words that follow the name
// of its file; "" if nothing is. For those who parse it piece by piece.
std::string json_problem(std::string_view text, JsonLimits limits = {});

// The value as a number that its type can hold; none if it is another value, or one outside.
std::optional<uint64_t> whole_number(const nlohmann::json& value, uint64_t most);
std::optional<float> float_number(const nlohmann::json& value);

// The beginning of a value's text, for messages.
std::string excerpt(const nlohmann::json& value);

}  // namespace mflux
