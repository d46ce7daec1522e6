// SPDX-License-Identifier: MIT
// With an index its files are read, no others; without one every *.safetensors file, if numbered
// names show that none is missing. Each file is opened and stays open. Tensors are gathered into
// one list, moved out of the headers, and a sorted list of positions (4 bytes each) finds them by
// name and shows duplicates.
#include "mflux/safetensors/folder.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/safetensors/file_name.h"

namespace mflux::safetensors {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> names_ending_in(const fs::path& folder, std::string_view suffix) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(suffix) && !name.starts_with('.')) names.push_back(name);
  }
  if (error) fail("{}: cannot list the folder: {}", folder.string(), error.message());
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

// The files of a folder that are the model's: those without a variant where there are any.
struct Listed {
  std::vector<std::string> indexes;
  std::vector<std::string> files;  // those of a variant only if its index is not there
  std::string variant;
};

Listed list_files(const fs::path& folder) {
  std::map<std::string, Listed> variants;
  for (const std::string& name : names_ending_in(folder, "")) {
    const std::optional<FileName> parsed = parse_file_name(name);
    if (!parsed) continue;
    Listed& listed = variants[parsed->variant];
    listed.variant = parsed->variant;
    (parsed->index ? listed.indexes : listed.files).push_back(name);
  }
  if (variants.empty()) return {};
  if (variants.contains("")) return variants.at("");
  if (variants.size() > 1) {
    fail(
        "{}: holds the variants {} and {} but no main file; keep only the one you mean",
        folder.string(),
        variants.begin()->first,
        std::next(variants.begin())->first);
  }
  return variants.begin()->second;
}

std::optional<std::string> only_index(const fs::path& folder, const Listed& listed) {
  if (listed.indexes.empty()) return std::nullopt;
  if (listed.indexes.size() == 1) return listed.indexes.front();
  fail(
      "{}: holds more than one index: {}, {}",
      folder.string(),
      listed.indexes[0],
      listed.indexes[1]);
}

// Without an index the names alone tell whether all files are there.
void check_series(const fs::path& folder, const std::vector<std::string>& names) {
  std::map<std::pair<std::string, uint64_t>, std::set<uint64_t>> series;
  for (const std::string& name : names) {
    const std::optional<FileName> parsed = parse_file_name(name);
    if (parsed->shards != 0) series[{parsed->stem, parsed->shards}].insert(parsed->shard);
  }
  for (const auto& [key, found] : series) {
    const auto& [stem, shards] = key;
    if (found.size() == shards) continue;
    uint64_t missing = 1;
    while (found.contains(missing)) ++missing;
    fail(
        "{}: {} of {} shards of '{}' are there, without an index; shard {} is missing (an "
        "incomplete download?)",
        folder.string(),
        found.size(),
        shards,
        stem,
        missing);
  }
  for (const std::string& name : names_ending_in(folder, ".safetensors.incomplete")) {
    fail(
        "{}: {} is an unfinished download, and no index says what belongs here",
        folder.string(),
        name);
  }
}

OpenedFile open_one(const fs::path& path) {
  File file = File::open(path);
  const FileStamp stamp = stamp_of(file);
  Header header = read_header(file);
  return {
      .name = path.filename().string(),
      .file = std::move(file),
      .header = std::move(header),
      .stamp = stamp};
}

// In both, at `first` and `second` of folder.tensors.
[[noreturn]] void fail_twice(const TensorFolder& folder, uint32_t first, uint32_t second) {
  fail(
      "{}: tensor '{}' is in both {} and {}",
      folder.path.string(),
      folder.tensors[first].info.name,
      folder.files[folder.tensors[first].file].name,
      folder.files[folder.tensors[second].file].name);
}

void sort_names(TensorFolder& folder) {
  const auto name_of = [&](uint32_t at) -> std::string_view {
    return folder.tensors[at].info.name;
  };
  folder.by_name.resize(folder.tensors.size());
  std::iota(folder.by_name.begin(), folder.by_name.end(), 0U);
  std::ranges::sort(folder.by_name, [&](uint32_t a, uint32_t b) {
    const int order = name_of(a).compare(name_of(b));
    return order != 0 ? order < 0 : a < b;
  });
  const auto twice = std::ranges::adjacent_find(folder.by_name, {}, name_of);
  if (twice != folder.by_name.end()) fail_twice(folder, *twice, *std::next(twice));
}

void add_tensors(TensorFolder& folder) {
  size_t count = 0;
  for (const OpenedFile& file : folder.files) count += file.header.tensors.size();
  if (count > kMaxTensors) {
    fail("{}: its files have more than {} tensors", folder.path.string(), kMaxTensors);
  }
  folder.tensors.reserve(count);
  for (size_t i = 0; i < folder.files.size(); ++i) {
    for (TensorInfo& info : folder.files[i].header.tensors) {
      folder.tensors.push_back({.file = i, .info = std::move(info)});
    }
    folder.files[i].header.tensors = {};
  }
  sort_names(folder);
}

void check_against_index(const TensorFolder& folder, const Index& index) {
  for (const StoredTensor& tensor : folder.tensors) {
    const std::string* stated = index.file_of(tensor.info.name);
    const std::string& file = folder.files[tensor.file].name;
    if (stated == nullptr) {
      fail(
          "{}: tensor '{}' is in the file but not in {}",
          (folder.path / file).string(),
          tensor.info.name,
          folder.index_name);
    }
    if (*stated != file) {
      fail(
          "{}: tensor '{}' is in {}, but {} says {}",
          folder.path.string(),
          tensor.info.name,
          file,
          folder.index_name,
          *stated);
    }
  }
  if (index.entries.size() == folder.tensors.size()) return;
  for (const Index::Entry& entry : index.entries) {
    if (folder.find(entry.tensor) == nullptr) {
      fail(
          "{}: tensor '{}' is not in {}, where {} says it is",
          folder.path.string(),
          entry.tensor,
          index.files[entry.file],
          folder.index_name);
    }
  }
}

// Says what a folder without safetensors holds, since that is what its owner needs to know.
[[noreturn]] void fail_empty(const fs::path& folder) {
  for (const std::string_view suffix : {".incomplete", ".bin", ".pt", ".ckpt", ".pth", ".gguf"}) {
    if (const auto names = names_ending_in(folder, suffix); !names.empty()) {
      fail(
          "{}: holds {} but no .safetensors file; {}",
          folder.string(),
          names.front(),
          suffix == ".incomplete" ? "an unfinished download: fetch it again"
                                  : "convert it to safetensors first");
    }
  }
  fail("{}: holds no .safetensors file", folder.string());
}

}  // namespace

const StoredTensor* TensorFolder::find(std::string_view name) const {
  const auto name_of = [&](uint32_t at) -> std::string_view { return tensors[at].info.name; };
  const auto it = std::ranges::lower_bound(by_name, name, {}, name_of);
  return it == by_name.end() || name_of(*it) != name ? nullptr : &tensors[*it];
}

std::string_view TensorFolder::metadata(std::string_view key) const {
  for (const OpenedFile& file : files) {
    const auto it = file.header.metadata.find(std::string(key));
    if (it != file.header.metadata.end()) return it->second;
  }
  return {};
}

TensorFolder open_folder(const fs::path& path) {
  TensorFolder folder;
  folder.path = path;
  Index index;
  std::vector<std::string> names;
  const Listed listed = list_files(path);
  if (const auto index_name = only_index(path, listed)) {
    folder.index_name = *index_name;
    index = read_index(path / *index_name);
    names = index.files;
  } else {
    names = listed.files;
    if (!names.empty()) check_series(path, names);
  }
  if (names.empty()) fail_empty(path);
  std::error_code error;  // a name that is too long for a file is that of none
  for (const std::string& name : names) {
    if (const auto target = dangling_target(path / name)) {
      fail(
          "{}: a link to {}, which is not there (an incomplete download?)",
          (path / name).string(),
          *target);
    }
    if (!folder.index_name.empty() && !fs::exists(path / name, error)) {
      fail(
          "{}: {} names {}, which is not there (an incomplete download?)",
          path.string(),
          folder.index_name,
          name);
    }
    folder.files.push_back(open_one(path / name));
  }
  add_tensors(folder);
  if (!folder.index_name.empty()) check_against_index(folder, index);
  return folder;
}

TensorFolder open_file(const fs::path& path) {
  TensorFolder folder;
  folder.path = path.parent_path();
  folder.files.push_back(open_one(path));
  add_tensors(folder);
  return folder;
}

uint64_t files_in_index(const fs::path& path, const std::string& file) {
  for (const std::string& name : names_ending_in(path, ".json")) {
    const std::optional<FileName> parsed = parse_file_name(name);
    if (!parsed || !parsed->index) continue;
    const std::vector<std::string> files = read_index(path / name).files;
    if (std::ranges::find(files, file) != files.end()) return files.size();
  }
  return 0;
}

}  // namespace mflux::safetensors
