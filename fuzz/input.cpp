// SPDX-License-Identifier: MIT
#include "fuzz/input.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include <fmt/format.h>

#include "mflux/base/paths.h"

namespace mflux::fuzz {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMark = "@@ ";
constexpr uint64_t kMostZeros = uint64_t{16} << 20;

bool is_plain(std::string_view name) {
  constexpr size_t kLongest = 120;
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/";
  return name.size() <= kLongest && name.find_first_not_of(kAlphabet) == name.npos &&
         std::ranges::count(name, '/') <= 3 && stays_inside(name);
}

// The end of the object that `text` begins with; all of it if it has none.
size_t object_end(std::string_view text) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == '{') {
      ++depth;
    } else if (!quoted && c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return text.size();
}

// The largest end among the "data_offsets": [begin, end] of a header.
uint64_t data_bytes(std::string_view json) {
  constexpr std::string_view kKey = "\"data_offsets\"";
  uint64_t most = 0;
  for (size_t at = json.find(kKey); at != json.npos; at = json.find(kKey, at + 1)) {
    const size_t comma = json.find(',', at);
    const size_t digit = json.find_first_of("0123456789", comma);
    if (comma == json.npos || digit == json.npos) break;
    uint64_t end = 0;
    std::from_chars(json.data() + digit, json.data() + json.size(), end);
    most = std::max(most, end);
  }
  return most;
}

}  // namespace

std::vector<Entry> split(std::string_view input, std::string_view first) {
  std::vector<Entry> entries;
  std::string name(first);
  while (true) {
    size_t mark = input.starts_with(kMark) ? 0 : input.find("\n@@ ");
    const std::string_view bytes = input.substr(0, mark);
    if ((mark != 0 || !entries.empty()) && is_plain(name)) entries.push_back({name, bytes});
    if (mark == input.npos) return entries;
    input.remove_prefix(mark + (mark == 0 ? 0 : 1) + kMark.size());
    const size_t line = std::min(input.find('\n'), input.size());
    name = input.substr(0, line);
    input.remove_prefix(std::min(line + 1, input.size()));
  }
}

Whole as_safetensors(std::string_view bytes, uint64_t most) {
  if (!bytes.starts_with('{')) return {std::string(bytes), bytes.size()};
  const std::string_view json = bytes.substr(0, object_end(bytes));
  const std::string_view data = bytes.substr(json.size());
  Whole whole;
  const uint64_t length = json.size();
  whole.bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
  whole.bytes.append(json).append(data);
  const uint64_t wanted = data_bytes(json);
  whole.size = whole.bytes.size();
  if (wanted > data.size() && wanted <= most) whole.size += wanted - data.size();
  return whole;
}

void Folder::write(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) write(path() / entry.name, entry.name, entry.bytes);
}

void Folder::write(const fs::path& file, std::string_view name, std::string_view bytes) {
  std::error_code error;
  for (fs::path folder = path(); const fs::path& part : fs::path(name).parent_path()) {
    folder /= part;
    if (fs::create_directory(folder, error)) written_.push_back(folder);
  }
  if (fs::exists(file, error) && std::ranges::find(written_, file) == written_.end()) {
    if (!fs::is_regular_file(file, error)) return;
    const fs::path aside = aside_ / fmt::format("{}", moved_.size());
    fs::rename(file, aside);
    moved_.emplace_back(aside, file);
  }
  if (!fs::is_directory(file.parent_path(), error) || fs::is_directory(file, error)) return;
  const bool tensors = name.ends_with(".safetensors");
  const Whole whole = as_safetensors(bytes, kMostZeros);
  mflux::testing::write_file(file, tensors ? std::string_view(whole.bytes) : bytes);
  if (tensors) fs::resize_file(file, whole.size);
  written_.push_back(file);
}

void Folder::restore() {
  std::error_code gone;
  for (; !written_.empty(); written_.pop_back()) fs::remove(written_.back(), gone);
  for (; !moved_.empty(); moved_.pop_back()) fs::rename(moved_.back().first, moved_.back().second);
}

void refusable(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    require(*error.what() != '\0', "an Error says something");
    static const bool kShown = std::getenv("FUZZ_ERRORS") != nullptr;
    if (kShown) std::fprintf(stderr, "%s\n", error.what());
  }
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace mflux::fuzz
