// SPDX-License-Identifier: MIT
// JSON of unknown origin: every surprise is an Error that names the file.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace mflux::tokenizer {

// The object in a file; an empty one if there is no such file. Throws Error if it holds no object.
nlohmann::json read_object(const std::filesystem::path& file);

// The beginning of a value's text, for messages.
std::string excerpt(const nlohmann::json& value);

}  // namespace mflux::tokenizer
