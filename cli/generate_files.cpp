// SPDX-License-Identifier: MIT
#include "cli/generate_files.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "mflux/base/error.h"

namespace mflux::cli {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSeed = "{seed}";

}  // namespace

void check_output(const fs::path& output) {
  std::string suffix = output.extension().string();
  std::ranges::transform(
      suffix, suffix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (suffix != ".png") {
    fail(ErrorKind::usage, "--output {}: pictures are written as .png", output.string());
  }
  const fs::path folder = output.has_parent_path() ? output.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  if (::access(folder.c_str(), W_OK) != 0) fail("{}: the folder is not writable", folder.string());
}

fs::path picture_path(const fs::path& output, uint64_t seed, bool several_seeds) {
  std::string stem = output.stem().string();
  if (const size_t at = stem.find(kSeed); at != stem.npos) {
    stem.replace(at, kSeed.size(), std::to_string(seed));
  } else if (several_seeds) {
    stem += "_seed_" + std::to_string(seed);
  }
  const auto named = [&](const std::string& name) {
    return output.parent_path() / (name + output.extension().string());
  };
  fs::path path = named(stem);
  for (int number = 1; fs::exists(path); ++number) {
    path = named(stem + "_" + std::to_string(number));
  }
  return path;
}

}  // namespace mflux::cli
