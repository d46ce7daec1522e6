// SPDX-License-Identifier: MIT
// Decimal numbers as people type them, whatever the locale. std::from_chars does this for integers;
// for a double libc++ lacks it before version 20.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mflux {

// All of `text` as one number: "1", "-0.5", ".5", "2.", "1e-3". Nothing else is one: no blanks, no
// "+1", no comma, no hexadecimal, no "inf", nothing that a double cannot hold.
std::optional<double> parse_decimal(std::string_view text);

// All of `text` as digits, up to `most`.
std::optional<uint64_t> parse_whole(std::string_view text, uint64_t most = UINT64_MAX);

}  // namespace mflux
