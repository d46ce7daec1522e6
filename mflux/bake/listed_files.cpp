// SPDX-License-Identifier: MIT
// Walks the folder with links read through, as a program that loads it would, and compares names
// only: verify.cpp checks contents. By ending of the file name, since that is how readers choose;
// .git and the download cache of Hugging Face are left out.
#include "mflux/bake/listed_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include <fmt/format.h>

#include "mflux/base/paths.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

constexpr auto kLoaded = std::to_array<std::string_view>(
    {".safetensors", ".bin",   ".pt",     ".pth",  ".ckpt",     ".gguf", ".ggml", ".msgpack",
     ".h5",          ".onnx",  ".npz",    ".npy",  ".pkl",      ".json", ".py",   ".so",
     ".model",       ".jinja", ".pickle", ".yaml", ".tiktoken", ".yml",  ".pyc",  ".sft"});
constexpr auto kLoadedNames = std::to_array<std::string_view>({"merges.txt", "vocab.txt"});
// A picture's recipe (generate --metadata) and the journal of a save that was killed at its end.
constexpr auto kNotLoaded = std::to_array<std::string_view>({".metadata.json", ".mflux-save.json"});

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// Every real folder once, so that links cannot lead in circles.
struct Walk {
  std::set<fs::path> seen = {};
  std::vector<std::string> files = {};

  void go(const fs::path& folder, const std::string& prefix) {
    if (prefix == ".git/" || prefix == ".cache/huggingface/") return;  // of a clone, a download
    if (!seen.insert(fs::canonical(folder)).second) return;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = prefix + entry.path().filename().string();
      std::error_code leads_nowhere;
      if (fs::is_directory(entry.status(leads_nowhere))) {
        go(entry.path(), name + "/");
      } else if (is_loaded_by_readers(entry.path().filename().string())) {
        files.push_back(name);
      }
    }
  }
};

bool is_index(std::string_view file) {
  return file.ends_with(".safetensors.index.json");
}

}  // namespace

bool is_loaded_by_readers(std::string_view file_name) {
  const std::string name = lower(file_name);
  const auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
  if (is_system_file(file_name) || std::ranges::any_of(kNotLoaded, ends)) return false;
  return std::ranges::any_of(kLoaded, ends) ||
         std::ranges::find(kLoadedNames, name) != kLoadedNames.end();
}

std::vector<std::string> unlisted_files(
    const fs::path& folder, const std::vector<FileRecord>& outputs) {
  std::set<std::string> listed = {"bake.json"};
  for (const FileRecord& record : outputs) listed.insert(record.file);
  Walk walk;
  walk.go(folder, "");
  std::erase_if(walk.files, [&](const std::string& file) { return listed.contains(file); });
  std::ranges::sort(walk.files);
  return std::move(walk.files);
}

std::vector<std::string> unlisted_components(const Receipt& receipt) {
  const bool one_file = receipt.options.layout == Layout::comfyui;
  std::vector<std::string> problems;
  for (const auto& [name, component] : receipt.components) {
    const std::string folder = one_file ? "" : name;
    const auto count = [&](auto condition) {
      return std::ranges::count_if(receipt.outputs, [&](const FileRecord& record) {
        return fs::path(record.file).parent_path() == folder && condition(record.file);
      });
    };
    const auto shards = count([](std::string_view file) { return file.ends_with(".safetensors"); });
    if (static_cast<size_t>(shards) != component.shards) {
      problems.push_back(fmt::format("{}: {} of {} shards", name, shards, component.shards));
    }
    if (!one_file && count(is_index) != 1) problems.push_back(name + ": no index");
  }
  return problems;
}

}  // namespace mflux
