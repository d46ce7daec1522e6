// SPDX-License-Identifier: MIT
#include "mflux/base/paths.h"

#include <algorithm>

#include "mflux/base/error.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxFiles = 1'000;

struct Walk {
  std::vector<std::string> files = {};
  std::vector<fs::path> above = {};  // the real folders that the walk is in

  void go(const fs::path& folder, const std::string& prefix) {
    const fs::path real = fs::canonical(folder);
    if (std::find(above.begin(), above.end(), real) != above.end()) {
      fail("{}: a link to a folder that contains it", folder.string());
    }
    above.push_back(real);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!is_system_file(name)) add(entry, prefix + name);
    }
    above.pop_back();
  }

  void add(const fs::directory_entry& entry, const std::string& name) {
    std::error_code error;
    const fs::file_status status = entry.status(error);
    if (fs::is_directory(status)) return go(entry.path(), name + "/");
    if (is_there(entry.path()) && !fs::is_regular_file(status)) {
      fail("{}: neither a file nor a folder", entry.path().string());
    }
    files.push_back(name);
    if (files.size() > kMaxFiles) {
      fail("{}: more than {} files", entry.path().parent_path().string(), kMaxFiles);
    }
  }
};

}  // namespace

bool is_there(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status)) return true;
  std::error_code own_error;
  const fs::file_status itself = fs::symlink_status(path, own_error);
  if (fs::is_symlink(itself)) {
    fail(
        "{}: a link to {}, which is not there (an incomplete download?)",
        path.string(),
        fs::read_symlink(path).string());
  }
  constexpr auto kNothing = fs::file_type::not_found;
  if (status.type() == kNothing && itself.type() == kNothing) return false;
  fail(
      "{}: cannot examine: {}",
      path.string(),
      (status.type() == kNothing ? own_error : error).message());
}

bool is_system_file(std::string_view name) {
  return name == ".DS_Store" || name.starts_with("._");
}

bool stays_inside(std::string_view name) {
  if (name.find('\0') != std::string_view::npos || name.find('\\') != std::string_view::npos) {
    return false;
  }
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

std::vector<std::string> files_below(const fs::path& folder) {
  Walk walk;
  walk.go(folder, "");
  std::sort(walk.files.begin(), walk.files.end());
  return std::move(walk.files);
}

}  // namespace mflux
