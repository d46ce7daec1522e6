// SPDX-License-Identifier: MIT
#include "mflux/safetensors/file_name.h"

#include <algorithm>
#include <charconv>

namespace mflux::safetensors {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kFileSuffix = ".safetensors";
constexpr std::string_view kJson = ".json";
constexpr std::string_view kIndex = ".safetensors.index";

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// "fp16", "bf16", "non_ema": a letter first, so that "part.2" is not a variant.
bool is_variant(std::string_view text) {
  return !text.empty() && is_letter(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
}

std::optional<uint64_t> number(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// Takes "-00001-of-00003" from the end of `text`.
void take_shard(std::string_view& text, FileName& name) {
  constexpr std::string_view kOf = "-of-";
  const size_t of = text.rfind(kOf);
  if (of == text.npos || of == 0) return;
  const size_t dash = text.rfind('-', of - 1);
  if (dash == text.npos) return;
  const auto shard = number(text.substr(dash + 1, of - dash - 1));
  const auto shards = number(text.substr(of + kOf.size()));
  if (!shard || !shards || *shard == 0 || *shard > *shards) return;
  name.shard = *shard;
  name.shards = *shards;
  text = text.substr(0, dash);
}

void take_variant(std::string_view& text, FileName& name) {
  const size_t dot = text.rfind('.');
  if (dot == text.npos || dot == 0 || !is_variant(text.substr(dot + 1))) return;
  name.variant = text.substr(dot + 1);
  text = text.substr(0, dot);
}

}  // namespace

std::optional<FileName> parse_file_name(std::string_view name) {
  if (name.starts_with('.')) return std::nullopt;
  FileName result;
  if (name.ends_with(kJson)) {
    name.remove_suffix(kJson.size());
    if (!name.ends_with(kIndex)) take_variant(name, result);
    if (!name.ends_with(kIndex)) return std::nullopt;
    name.remove_suffix(kIndex.size());
    result.index = true;
  } else if (name.ends_with(kFileSuffix)) {
    name.remove_suffix(kFileSuffix.size());
  } else {
    return std::nullopt;
  }
  if (name.empty()) return std::nullopt;
  if (!result.index) take_shard(name, result);
  if (result.variant.empty()) take_variant(name, result);
  if (!result.index && result.shards == 0) take_shard(name, result);
  result.stem = name;
  return result;
}

std::optional<std::string> dangling_target(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error) || fs::exists(path, error)) return std::nullopt;
  return fs::read_symlink(path, error).string();
}

}  // namespace mflux::safetensors
