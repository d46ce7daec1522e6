// SPDX-License-Identifier: MIT
// Tokenizer folders to be opened, and spoiled.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "mflux/tokenizer/tokenizer.h"
#include "tests/testing.h"

namespace mflux::testing {

inline std::filesystem::path tokenizer_data(std::string_view name) {
  return std::filesystem::path(MFLUX_TEST_DATA) / "tokenizer" / name;
}

// A folder of tests/data/tokenizer that a test may change.
class TokenizerFolder {
 public:
  explicit TokenizerFolder(std::string_view name) : path_(dir_ / name) {
    std::filesystem::copy(tokenizer_data(name), path_, std::filesystem::copy_options::recursive);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  // What opening it says; "" if it opens.
  std::string error() const {
    return error_of([&] { tokenizer::Tokenizer::open(path_); });
  }

 private:
  TempDir dir_;
  std::filesystem::path path_;
};

}  // namespace mflux::testing
