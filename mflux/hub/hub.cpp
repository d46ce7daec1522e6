// SPDX-License-Identifier: MIT
// What exists on disk wins over a name. A name becomes the cache folder models--OWNER--REPO, and
// there the snapshot that refs/main names, or the only one there is. The cache is where Hugging
// Face's tools would look: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, else ~/.cache. Only folders are
// listed; no file but refs/main is read.
#include "mflux/hub/hub.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>
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

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_part_of_repository(std::string_view part) {
  return !part.empty() && is_letter_or_digit(part.front()) && std::ranges::all_of(part, [](char c) {
    return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
  });
}

// "owner/repo" as the hub allows it; a path such as "loras/x.safetensors" is not one.
bool is_repository(std::string_view name) {
  const size_t slash = name.find('/');
  return slash != name.npos && is_part_of_repository(name.substr(0, slash)) &&
         is_part_of_repository(name.substr(slash + 1)) && !name.ends_with(".safetensors");
}

// No path that a system opens is longer, and no name on the hub.
void check_length(std::string_view name, std::string_view what) {
  constexpr size_t kLongest = 4096;  // bytes
  constexpr size_t kShown = 60;
  if (name.size() <= kLongest) return;
  fail(
      ErrorKind::usage,
      "the name of the {} has {} bytes, expected at most {}: {}...",
      what,
      name.size(),
      kLongest,
      name.substr(0, kShown));
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

// Without hidden ones, as a Mac's "._x.safetensors".
std::vector<fs::path> files_in(const fs::path& folder, std::string_view suffix) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(suffix) && !name.starts_with('.')) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

// What PEFT, diffusers and mlx-lm call the LoRA in a folder where other files may lie beside it.
constexpr std::array<std::string_view, 3> kUsualNames = {
    "adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapters.safetensors"};

[[noreturn]] void fail_without_lora(const fs::path& folder) {
  if (fs::exists(folder / "model_index.json") || fs::is_directory(folder / "transformer")) {
    fail(
        ErrorKind::lora,
        "{}: is a model's folder, not a LoRA; give it with --model",
        folder.string());
  }
  for (const std::string_view suffix : {".bin", ".pt", ".pth", ".ckpt"}) {
    const std::vector<fs::path> files = files_in(folder, suffix);
    if (files.empty()) continue;
    fail(
        "{}: holds no .safetensors file, and {} is a PyTorch (pickle) file, which is not read: "
        "convert it to safetensors",
        folder.string(),
        files.front().filename().string());
  }
  fail("{}: holds no .safetensors file", folder.string());
}

// "X-00001-of-00002.safetensors"
bool is_shard(const fs::path& file) {
  const std::string name = file.filename().string();
  const size_t of = name.rfind("-of-");
  const auto is_digit = [&](size_t at) {
    return at < name.size() && name[at] >= '0' && name[at] <= '9';
  };
  return of != std::string::npos && of != 0 && is_digit(of - 1) && is_digit(of + 4);
}

// The file; of a sharded LoRA its index, or the folder that holds nothing else.
fs::path only_lora_in(const fs::path& folder) {
  const std::vector<fs::path> indexes = files_in(folder, ".safetensors.index.json");
  if (indexes.size() == 1) return indexes.front();
  const std::vector<fs::path> files = files_in(folder, ".safetensors");
  if (files.empty()) fail_without_lora(folder);
  if (std::ranges::all_of(files, is_shard)) return folder;
  if (files.size() == 1) return files.front();
  for (const std::string_view name : kUsualNames) {
    const auto usual = std::ranges::find(files, folder / name);
    if (usual != files.end()) return *usual;
  }
  std::vector<std::string> names;
  for (const fs::path& file : files) names.push_back(file.filename().string());
  fail("{}: holds several files, name one of: {}", folder.string(), fmt::join(names, ", "));
}

bool is_number(std::string text) {
  std::ranges::replace(text, ',', '.');
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0';
}

// What people write by the habit of other programs.
void refuse_other_spelling(const std::string& name) {
  if (name.find("://") != std::string::npos) {
    fail(
        ErrorKind::usage,
        "{}: is a URL; download the file and give its path, or give owner/repo:file of the Hugging "
        "Face cache",
        name);
  }
  if (name.starts_with("<lora:")) {
    fail(ErrorKind::usage, "{}: is for a prompt; give --lora FILE --lora-scale NUMBER", name);
  }
  const size_t end = name.find_last_of(":=");
  if (end == std::string::npos || !is_number(name.substr(end + 1))) return;
  std::string scale = name.substr(end + 1);
  std::ranges::replace(scale, ',', '.');
  fail(
      ErrorKind::usage,
      "{}: the scale is a separate argument: --lora {} --lora-scale {}",
      name,
      name.substr(0, end),
      scale);
}

}  // namespace

fs::path resolve_model(const std::string& name) {
  check_length(name, "model");
  std::error_code error;
  if (fs::exists(name, error)) return name;
  if (const models::KnownModel* known = models::find_known_model(name)) {
    return cached(name, std::string(known->repository), "model");
  }
  if (is_repository(name)) return cached(name, name, "model");
  fail("{}: no such file or folder, and not the name of a known model", name);
}

fs::path resolve_lora(const std::string& name) {
  check_length(name, "LoRA");
  std::error_code error;
  if (fs::is_directory(name, error)) return only_lora_in(name);
  if (fs::exists(name, error)) return name;
  refuse_other_spelling(name);
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
