// SPDX-License-Identifier: MIT
#include "mflux/bake/case_blind.h"

#include <map>

#include "mflux/base/error.h"
#include "mflux/base/utf8.h"
#include "mflux/tokenizer/unicode.h"

namespace mflux {

std::filesystem::path without_case(const std::filesystem::path& path) {
  const std::string text = path.string();
  if (invalid_utf8(text) != text.npos) return path;
  return tokenizer::nfc(tokenizer::lowercase(tokenizer::nfc(text)));
}

void check_told_apart(const std::string& where, const std::vector<std::string>& names) {
  std::map<std::filesystem::path, const std::string*> seen;
  for (const std::string& name : names) {
    const auto [other, is_new] = seen.emplace(without_case(name), &name);
    if (is_new || *other->second == name) continue;
    fail(
        "{}: {} and {} differ only in case, and many disks (most Macs') treat them as one file; "
        "rename or remove one",
        where,
        *other->second,
        name);
  }
}

}  // namespace mflux
