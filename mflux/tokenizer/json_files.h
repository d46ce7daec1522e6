// SPDX-License-Identifier: MIT
// JSON of unknown origin: every surprise is an Error that names the file.
#pragma once

#include <filesystem>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace mflux::tokenizer {

// The object in a file; an empty one if there is no such file. Throws Error if it holds no object.
nlohmann::json read_object(const std::filesystem::path& file);

// The value of a key; null if there is none, or if `object` is no object. Not a copy: a vocabulary
// is large.
const nlohmann::json& member(const nlohmann::json& object, std::string_view key);

}  // namespace mflux::tokenizer
