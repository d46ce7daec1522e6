// SPDX-License-Identifier: MIT
// The few things that a model's config.json is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mflux::models {

// All throw Error, naming `file`, if the text is no JSON object. An empty text has nothing.
std::string config_class(std::string_view text, std::string_view file);  // _class_name; "" if none
std::optional<uint64_t> config_number(
    std::string_view text, std::string_view key, std::string_view file);
// Of attention: hidden_size / the number of heads, and the base of rotary frequencies. `section`
// names an object within; empty: the language model, in text_config if there is one.
std::optional<uint64_t> config_head_width(
    std::string_view text, std::string_view section, std::string_view file);
std::optional<double> config_rope_base(
    std::string_view text, std::string_view section, std::string_view file);
bool config_flag(std::string_view text, std::string_view key, std::string_view file);

}  // namespace mflux::models
