// SPDX-License-Identifier: MIT
// An index names its shards; of a folder every file must be a shard of one set, and none may be
// missing. Nothing is opened but the index.
#include "mflux/lora/files.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/safetensors/folder.h"

namespace mflux::lora {
namespace fs = std::filesystem;
namespace {

// "X-00001-of-00002.safetensors": X, 1 and 2.
struct ShardName {
  std::string stem;
  uint64_t number = 0;
  uint64_t count = 0;
};

// The number that the text ends with, which is taken away; none: it ends with no digits.
std::optional<uint64_t> take_number(std::string_view& text) {
  const size_t last = text.find_last_not_of("0123456789");
  const std::string_view digits = last == text.npos ? text : text.substr(last + 1);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || digits.empty()) return std::nullopt;
  text.remove_suffix(digits.size());
  return number;
}

bool take(std::string_view& text, std::string_view end) {
  if (!text.ends_with(end)) return false;
  text.remove_suffix(end.size());
  return true;
}

std::optional<ShardName> shard_name(const fs::path& file) {
  const std::string name = file.filename().string();
  std::string_view text = name;
  if (!take(text, ".safetensors")) return std::nullopt;
  const auto count = take_number(text);
  if (!count || !take(text, "-of-")) return std::nullopt;
  const auto number = take_number(text);
  if (!number || !take(text, "-") || *number == 0 || *number > *count) return std::nullopt;
  return ShardName{std::string(text), *number, *count};
}

[[noreturn]] void fail_missing(const fs::path& folder, std::string_view what) {
  fail(
      ErrorKind::lora,
      "{}: {} of this sharded LoRA is not there: perhaps an incomplete download",
      folder.string(),
      what);
}

std::vector<fs::path> files_of_index(const fs::path& index) {
  std::vector<fs::path> files;
  std::error_code error;  // a name that is too long for a file is that of none
  for (const std::string& name : safetensors::files_of_index(index)) {
    files.push_back(index.parent_path() / name);
    if (!fs::is_regular_file(files.back(), error)) fail_missing(index, name);
  }
  return files;
}

std::vector<fs::path> shards_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::optional<ShardName> set;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".safetensors") || name.starts_with('.')) continue;
    const std::optional<ShardName> shard = shard_name(name);
    if (!set) set = shard;
    if (!shard || shard->stem != set->stem || shard->count != set->count) {
      fail("{}: '{}' is not a shard of the same LoRA as the others", folder.string(), name);
    }
    files.push_back(entry.path());
  }
  if (files.empty()) fail("{}: holds no .safetensors file", folder.string());
  std::ranges::sort(files, {}, [](const fs::path& file) { return shard_name(file)->number; });
  for (size_t i = 0; set && i < set->count; ++i) {
    if (i < files.size() && shard_name(files[i])->number == i + 1) continue;
    fail_missing(folder, fmt::format("shard {} of {}", i + 1, set->count));
  }
  return files;
}

}  // namespace

std::vector<fs::path> lora_files(const fs::path& path) {
  if (path.filename().string().ends_with(".safetensors.index.json")) return files_of_index(path);
  if (fs::is_directory(path)) return shards_in(path);
  const std::optional<ShardName> shard = shard_name(path);
  if (!shard || shard->count == 1) return {path};
  fail(
      ErrorKind::lora,
      "{}: is shard {} of {}, which is not a LoRA without the others: give the folder that holds "
      "all of them",
      path.string(),
      shard->number,
      shard->count);
}

}  // namespace mflux::lora
