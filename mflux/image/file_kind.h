// SPDX-License-Identifier: MIT
// What a file is by its first bytes; names of files are not believed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "mflux/image/decoded.h"

namespace mflux {

struct FileKind {
  std::string_view title = {};  // "a PNG picture"
  size_t at = 0;                // where its mark stands
  std::string_view mark = {};
  Decoded (*decode)(std::span<const std::byte> bytes, const std::string& name) = nullptr;
};

// A kind that has a decoder. Throws Error for all else, saying what it is if that is known.
const FileKind& file_kind(std::span<const std::byte> bytes, const std::string& name);

}  // namespace mflux
