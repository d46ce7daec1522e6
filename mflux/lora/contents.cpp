// SPDX-License-Identifier: MIT
// Reads headers and configuration only: the headers of all files become one, whose offsets count in
// the files joined; every key is taken apart by the grammar and sorted into its module. Names and
// numbers of tensors are limited, since each key costs some thousand bytes here.
#include "mflux/lora/contents.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/lora/files.h"
#include "mflux/lora/grammar.h"
#include "mflux/lora/stranger.h"
#include "mflux/safetensors/wrappers.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

// What is made of a key takes some thousand bytes, and its name is in every message.
constexpr size_t kMaxAllNames = 2'000'000;  // bytes
constexpr size_t kMaxKeys = 20'000;         // several times what any model here has places for

void use_config(
    ParsedConfig parsed, std::string_view what, AdapterConfig& out, std::vector<std::string>& bad) {
  if (!parsed.error.empty()) {
    bad.push_back(fmt::format("{} {}", what, parsed.error));
  } else if (const auto method = parsed.config.changed_base(); !method.empty()) {
    bad.push_back(fmt::format(
        "initialized with {}, so it belongs to a changed model; convert it with PEFT to a plain "
        "LoRA",
        method));
  }
  out = std::move(parsed.config);
}

void read_configs(Contents& contents) {
  use_config(
      metadata_config(contents.header.metadata),
      "the metadata's LoRA configuration",
      contents.metadata,
      contents.bad_metadata);
  const std::filesystem::path sidecar =
      contents.files.front().parent_path() / "adapter_config.json";
  if (!std::filesystem::exists(sidecar)) return;
  use_config(
      parse_adapter_config(read_text(sidecar)),
      sidecar.string(),
      contents.sidecar,
      contents.bad_metadata);
}

// What the key says besides its module and the adapter's name.
std::string ending_of(std::string_view key, const ParsedKey& parsed) {
  std::string ending(key.substr(parsed.module.size()));
  if (parsed.adapter.empty()) return ending;
  const auto at = static_cast<size_t>(parsed.adapter.data() - key.data()) - parsed.module.size();
  return ending.erase(at - 1, parsed.adapter.size() + 1);
}

// A file that PEFT did not write itself may hold what several adapters have learned.
void check_adapters(const std::set<std::string, std::less<>>& names, Contents& contents) {
  constexpr size_t kMostShown = 16;  // each key's record repeats them
  if (names.size() < 2) return;
  const size_t shown = std::min(names.size(), kMostShown);
  contents.refusal = Refusal{
      ProblemKind::several_adapters,
      fmt::format(
          "holds {} adapters ({}{}), and a LoRA file can hold one: save each to a file of its own",
          names.size(),
          fmt::join(names.begin(), std::next(names.begin(), static_cast<ptrdiff_t>(shown)), ", "),
          shown < names.size() ? ", ..." : "")};
}

void group_keys(Contents& contents) {
  std::unordered_map<std::string_view, size_t> positions;    // of names in contents.modules,
  contents.modules.reserve(contents.header.tensors.size());  // which therefore never moves
  std::set<std::string, std::less<>> adapters;
  for (const TensorInfo& info : contents.header.tensors) {
    const std::string key = safetensors::without_wrappers(info.name);
    if (const auto why = ignored_because(key); !why.empty()) {
      contents.ignored.push_back({&info, why});
      continue;
    }
    const auto parsed = parse_key(key);
    if (const auto why = refused_because(key); !why.empty() || !parsed) {
      contents.refused.push_back({&info, why});
      continue;
    }
    contents.other_order = contents.other_order || parsed->other_order;
    if (!parsed->adapter.empty()) adapters.emplace(parsed->adapter);
    auto position = positions.find(parsed->module);
    if (position == positions.end()) {
      contents.modules.push_back({std::string(parsed->module), {}});
      position = positions.emplace(contents.modules.back().name, contents.modules.size() - 1).first;
    }
    contents.modules[position->second].parts.push_back(
        {parsed->parameter, &info, ending_of(key, *parsed)});
  }
  check_adapters(adapters, contents);
}

// No tensor of a shard is in another one, too.
void check_unique(const Contents& contents, const safetensors::Header& joined) {
  if (contents.files.size() < 2) return;
  std::vector<const TensorInfo*> sorted;
  for (const TensorInfo& info : joined.tensors) sorted.push_back(&info);
  std::ranges::sort(sorted, [](const TensorInfo* a, const TensorInfo* b) {
    return std::pair(std::string_view(a->name), a->offset) <
           std::pair(std::string_view(b->name), b->offset);
  });
  const auto twice = std::ranges::adjacent_find(sorted, {}, &TensorInfo::name);
  if (twice == sorted.end()) return;
  const auto& places = contents.file->places();
  const auto next =
      std::ranges::upper_bound(places, (*std::next(twice))->offset, {}, &JoinedFiles::Place::begin);
  fail(
      "{}: the tensor '{}' is in another shard too",
      std::prev(next)->file.path().string(),
      (*twice)->name);
}

// Headers of all files as one.
safetensors::Header join_headers(const Contents& contents) {
  safetensors::Header joined;
  size_t all_names = 0;
  for (size_t i = 0; i < contents.files.size(); ++i) {
    const JoinedFiles::Place& place = contents.file->places()[i];
    safetensors::Header header = safetensors::read_header(place.file);
    if (header.file_bytes != place.bytes) {
      fail("{}: changed while it was read", contents.files[i].string());
    }
    if (joined.tensors.size() + header.tensors.size() > kMaxKeys) {
      fail(
          "{}: holds {} tensors, more than the {} that a LoRA may have",
          contents.files[i].string(),
          joined.tensors.size() + header.tensors.size(),
          kMaxKeys);
    }
    for (const TensorInfo& info : header.tensors) all_names += info.name.size();
    if (all_names > kMaxAllNames) {
      fail(
          "{}: the names of its tensors have {} bytes, more than the {} that a LoRA's may have",
          contents.files[i].string(),
          all_names,
          kMaxAllNames);
    }
    joined.file_bytes += header.file_bytes;
    joined.metadata.merge(header.metadata);
    for (TensorInfo& info : header.tensors) {
      info.offset += place.begin;
      joined.tensors.push_back(std::move(info));
    }
  }
  check_unique(contents, joined);
  return joined;
}

}  // namespace

Contents open_contents(const std::filesystem::path& path) {
  const std::vector<std::filesystem::path> files = lora_files(path);
  Contents contents{
      .path = path.has_filename() ? path : path.parent_path(),  // of "folder/"
      .files = files,
      .stamps = stamps_of(files),
      .file = std::make_unique<const JoinedFiles>(files)};
  contents.header = join_headers(contents);
  check_unchanged(contents.files, contents.stamps);  // what was mapped is what was stamped
  read_configs(contents);
  group_keys(contents);
  if (auto what = stranger(contents.header); !what.empty()) {
    contents.refusal = Refusal{ProblemKind::no_lora, std::move(what)};
  }
  return contents;
}

bool looks_like_lora(const safetensors::Header& header) {
  const auto count = std::ranges::count_if(
      header.tensors, [](const TensorInfo& info) { return is_of_lora(info.name); });
  return count > 0 && 2 * static_cast<size_t>(count) >= header.tensors.size();
}

std::string dialect_of(std::span<const Module> modules) {
  std::vector<std::string_view> dialects;
  for (const Module& module : modules) {
    const std::string_view dialect = module.place.dialect;
    const bool is_new = std::ranges::find(dialects, dialect) == dialects.end();
    if (!dialect.empty() && is_new) dialects.push_back(dialect);
  }
  return dialects.empty() ? "text encoder" : fmt::format("{}", fmt::join(dialects, " + "));
}

}  // namespace mflux::lora
