// SPDX-License-Identifier: MIT
// The receipt's hash of itself: its last member,
//
//   ... ],
//    "receipt_xxh3_128": "32 digits"
//   }
//
// is the XXH3-128 of all bytes before the comma in front of it. So nothing in bake.json changes
// unnoticed, in any layout; indexes, whose hashes the receipt lists, could not hold it.
#pragma once

#include <string>
#include <string_view>

namespace mflux {

inline constexpr std::string_view kReceiptSeal = "receipt_xxh3_128";

// `json`: a receipt without that member, indented by 1. With the line feed at the end.
std::string seal_receipt(std::string_view json);

// What is wrong with the hash of a receipt that has one; "" if nothing.
std::string seal_problem(std::string_view receipt);

}  // namespace mflux
