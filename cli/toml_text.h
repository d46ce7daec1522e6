// SPDX-License-Identifier: MIT
// What must hold of a text before toml++ sees it.
#pragma once

#include <string_view>

namespace mflux::cli {

// Throws a usage Error that names `file` and the line of what toml++ 3.3 does not survive:
// thousands of keys within keys, each a level of recursion when they are freed; brackets that do
// not belong together and dates cut short, which it only asserts. And of more values than any job
// has, for each takes many times its bytes.
void check_toml(std::string_view text, std::string_view file);

}  // namespace mflux::cli
