// SPDX-License-Identifier: MIT
// The files of a tokenizer folder, whichever there are, read into one form.
#pragma once

#include <filesystem>

#include "mflux/tokenizer/contents.h"

namespace mflux::tokenizer {

TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder);

}  // namespace mflux::tokenizer
