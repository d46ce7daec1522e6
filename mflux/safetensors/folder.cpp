// SPDX-License-Identifier: MIT
#include "mflux/safetensors/folder.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/safetensors/file_name.h"

namespace mflux::safetensors {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

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
        "{}: holds the variants {} and {} but no main file; leave the one that is meant",
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
        "{}: {} of {} shards of '{}' are there, and no index; shard {} is missing (an incomplete "
        "download?)",
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

using WeightMap = std::map<std::string, std::string, std::less<>>;  // tensor -> file

Json parse_index(const fs::path& path) {
  try {
    return Json::parse(read_text(path));
  } catch (const Json::exception& error) {
    fail("{}: not a JSON index: {}", path.string(), error.what());
  }
}

WeightMap read_index(const fs::path& path) {
  const Json json = parse_index(path);
  const auto map = json.find("weight_map");
  if (!json.is_object() || map == json.end() || !map->is_object()) {
    fail("{}: the index has no weight_map", path.string());
  }
  WeightMap result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) fail("{}: weight_map['{}'] is not a file name", path.string(), tensor);
    const auto name = file.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name == "." || name == ".." ||
        name.find('\\') != std::string::npos || name.find('\0') != std::string::npos) {
      fail(
          "{}: tensor '{}' is said to be in '{}', expected the name of a file in this folder",
          path.string(),
          tensor,
          name);
    }
    result.emplace(tensor, name);
  }
  if (result.empty()) fail("{}: the index names no tensor", path.string());
  return result;
}

std::vector<std::string> files_named_by(const WeightMap& index) {
  std::set<std::string> files;
  for (const auto& [tensor, file] : index) files.insert(file);
  std::vector<std::string> names(files.begin(), files.end());
  std::sort(names.begin(), names.end(), natural_less);
  return names;
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

void add_tensors(TensorFolder& folder) {
  std::map<std::string_view, size_t> seen;
  for (size_t i = 0; i < folder.files.size(); ++i) {
    for (const TensorInfo& info : folder.files[i].header.tensors) {
      const auto [it, fresh] = seen.emplace(info.name, i);
      if (!fresh) {
        fail(
            "{}: tensor '{}' is in both {} and {}",
            folder.path.string(),
            info.name,
            folder.files[it->second].name,
            folder.files[i].name);
      }
      folder.tensors.push_back({.file = i, .info = info});
    }
  }
}

void check_against_index(const TensorFolder& folder, const WeightMap& index) {
  for (const StoredTensor& tensor : folder.tensors) {
    const auto it = index.find(tensor.info.name);
    const std::string& file = folder.files[tensor.file].name;
    if (it == index.end()) {
      fail(
          "{}: tensor '{}' is in the file but not in {}",
          (folder.path / file).string(),
          tensor.info.name,
          folder.index_name);
    }
    if (it->second != file) {
      fail(
          "{}: tensor '{}' is in {}, but {} says {}",
          folder.path.string(),
          tensor.info.name,
          file,
          folder.index_name,
          it->second);
    }
  }
  if (index.size() == folder.tensors.size()) return;
  for (const auto& [tensor, file] : index) {
    if (folder.find(tensor) == nullptr) {
      fail(
          "{}: tensor '{}' is not in {}, where {} says it is",
          folder.path.string(),
          tensor,
          file,
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

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const size_t a_begin = std::min(a.find_first_not_of('0', i), a.size());
      const size_t b_begin = std::min(b.find_first_not_of('0', j), b.size());
      size_t a_end = a_begin;
      size_t b_end = b_begin;
      while (a_end < a.size() && is_digit(a[a_end])) ++a_end;
      while (b_end < b.size() && is_digit(b[b_end])) ++b_end;
      if (a_end - a_begin != b_end - b_begin) return a_end - a_begin < b_end - b_begin;
      const int order =
          a.substr(a_begin, a_end - a_begin).compare(b.substr(b_begin, b_end - b_begin));
      if (order != 0) return order < 0;
      i = a_end;
      j = b_end;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // equal but for leading zeros
}

const StoredTensor* TensorFolder::find(std::string_view name) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& tensor) {
    return tensor.info.name == name;
  });
  return it == tensors.end() ? nullptr : &*it;
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
  WeightMap index;
  std::vector<std::string> names;
  const Listed listed = list_files(path);
  if (const auto index_name = only_index(path, listed)) {
    folder.index_name = *index_name;
    index = read_index(path / *index_name);
    names = files_named_by(index);
  } else {
    names = listed.files;
    if (!names.empty()) check_series(path, names);
  }
  if (names.empty()) fail_empty(path);
  for (const std::string& name : names) {
    if (const auto target = dangling_target(path / name)) {
      fail(
          "{}: a link to {}, which is not there (an incomplete download?)",
          (path / name).string(),
          *target);
    }
    if (!folder.index_name.empty() && !fs::exists(path / name)) {
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

std::vector<std::string> files_of_index(const fs::path& index) {
  return files_named_by(read_index(index));
}

uint64_t files_in_index(const fs::path& path, const std::string& file) {
  for (const std::string& name : names_ending_in(path, ".json")) {
    const std::optional<FileName> parsed = parse_file_name(name);
    if (!parsed || !parsed->index) continue;
    const std::vector<std::string> files = files_of_index(path / name);
    if (std::ranges::find(files, file) != files.end()) return files.size();
  }
  return 0;
}

std::optional<uint64_t> index_total_size(const fs::path& index) {
  const Json json = parse_index(index);
  const auto metadata = json.find("metadata");
  if (metadata == json.end() || !metadata->is_object()) return std::nullopt;
  const auto total = metadata->find("total_size");
  if (total == metadata->end() || !total->is_number()) return std::nullopt;
  return total->get<uint64_t>();
}

std::string format_index(
    std::span<const IndexEntry> entries, const Metadata& metadata, uint64_t total_size) {
  nlohmann::ordered_json json;
  auto& meta = json["metadata"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) meta[key] = value;
  meta["total_size"] = total_size;
  std::map<std::string, std::string> sorted;
  for (const IndexEntry& entry : entries) sorted.emplace(entry.tensor, entry.file);
  auto& map = json["weight_map"] = nlohmann::ordered_json::object();
  for (const auto& [tensor, file] : sorted) map[tensor] = file;
  return json.dump(2) + "\n";
}

}  // namespace mflux::safetensors
