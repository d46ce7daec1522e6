// SPDX-License-Identifier: MIT
#include "mflux/hub/hub.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <regex>
#include <vector>

#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/paths.h"
#include "mflux/models/family.h"

namespace mflux::hub {
namespace fs = std::filesystem;
namespace {

fs::path cache_folder() {
  const auto variable = [](const char* name) -> std::optional<fs::path> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return fs::path(value);
  };
  if (const auto cache = variable("HF_HUB_CACHE")) return *cache;
  if (const auto home = variable("HF_HOME")) return *home / "hub";
  if (const auto cache = variable("XDG_CACHE_HOME")) return *cache / "huggingface" / "hub";
  if (const auto home = variable("HOME")) return *home / ".cache" / "huggingface" / "hub";
  return "huggingface/hub";
}

// "owner/repo" as the hub allows it; a path such as "loras/x.safetensors" is not one.
bool is_repository(const std::string& name) {
  static const std::regex kPattern(R"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)");
  return std::regex_match(name, kPattern) && !name.ends_with(".safetensors");
}

// The snapshot that refs/main names, or the only one.
std::optional<fs::path> find_snapshot(const std::string& repository) {
  std::string folder = "models--" + repository;
  folder.replace(folder.find('/'), 1, "--");
  const fs::path root = cache_folder() / folder;
  std::error_code error;
  if (fs::exists(root / "refs" / "main", error)) {
    std::string revision = read_text(root / "refs" / "main");
    std::erase_if(revision, [](unsigned char c) { return std::isxdigit(c) == 0; });
    if (fs::is_directory(root / "snapshots" / revision, error) && !revision.empty()) {
      return root / "snapshots" / revision;
    }
    fail(
        "{}: names the snapshot '{}', which is not in {} (an incomplete download?). Fetch it with: "
        "hf download {}",
        (root / "refs" / "main").string(),
        revision,
        (root / "snapshots").string(),
        repository);
  }
  std::vector<fs::path> snapshots;
  for (fs::directory_iterator it(root / "snapshots", error), end; !error && it != end;
       it.increment(error)) {
    snapshots.push_back(it->path());
  }
  if (snapshots.size() == 1) return snapshots.front();
  return std::nullopt;
}

fs::path cached(const std::string& name, const std::string& repository, std::string_view what) {
  if (auto snapshot = find_snapshot(repository)) return *snapshot;
  fail(
      "{}: no such file or folder, and the {} {} is not in the Hugging Face cache ({}). Fetch it "
      "with: hf download {}",
      name,
      what,
      repository,
      cache_folder().string(),
      repository);
}

std::vector<fs::path> safetensors_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& file = it->path();
    const bool hidden = file.filename().string().starts_with('.');  // "._x.safetensors" of a Mac
    if (file.extension() == ".safetensors" && !hidden) files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  return files;
}

fs::path only_lora_in(const fs::path& folder) {
  const std::vector<fs::path> files = safetensors_in(folder);
  if (files.size() == 1) return files.front();
  if (files.empty()) fail("{}: holds no .safetensors file", folder.string());
  std::vector<std::string> names;
  for (const fs::path& file : files) names.push_back(file.filename().string());
  fail("{}: holds several files, name one of: {}", folder.string(), fmt::join(names, ", "));
}

}  // namespace

fs::path resolve_model(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  if (const models::KnownModel* known = models::find_known_model(name)) {
    return cached(name, std::string(known->repository), "model");
  }
  if (is_repository(name)) return cached(name, name, "model");
  fail("{}: no such file or folder, nor the name of a model", name);
}

fs::path resolve_lora(const std::string& name) {
  std::error_code error;
  if (fs::is_directory(name, error)) return only_lora_in(name);
  if (fs::exists(name, error)) return name;
  const size_t colon = name.find(':');
  const std::string repository = name.substr(0, colon);
  if (!is_repository(repository)) fail("{}: LoRA file not found", name);
  const fs::path snapshot = cached(name, repository, "LoRA");
  if (colon == std::string::npos) return only_lora_in(snapshot);
  const std::string within = name.substr(colon + 1);
  if (!stays_inside(within)) {
    fail("{}: '{}' is not the name of a file in the repository", name, within);
  }
  fs::path file = snapshot / within;
  if (!fs::is_regular_file(file, error)) fail("{}: {} is not there", name, file.string());
  return file;
}

}  // namespace mflux::hub
