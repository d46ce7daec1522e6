// SPDX-License-Identifier: MIT
// Read with a SAX parser as headers are: only weight_map and total_size are kept, and each file
// name once, however many tensors name it. Entries are then sorted, which finds duplicates and
// makes file_of() a binary search.
#include "mflux/safetensors/index.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"

namespace mflux::safetensors {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kWeightMap = "weight_map";
constexpr std::string_view kTotalSize = "total_size";
constexpr size_t kMaxFileName = 255;  // bytes; no file system has longer ones
constexpr size_t kShownBytes = 100;   // of a text that is refused

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

bool is_file_name(std::string_view name) {
  constexpr std::string_view kOfPaths("/\\\0", 3);
  return !name.empty() && name.size() <= kMaxFileName && name != "." && name != ".." &&
         name.find_first_of(kOfPaths) == std::string_view::npos;
}

// Receives the JSON piece by piece and keeps of it what an Index holds. All but the weight_map and
// the total size may be of any kind and depth.
class IndexReader : public nlohmann::json_sax<Json> {
 public:
  explicit IndexReader(std::string path) : path_(std::move(path)) {}

  Index take() {
    if (!has_map_) refuse_map();
    if (index_.entries.empty()) fail("{}: the index names no tensors", path_);
    sort_entries();
    sort_files();
    return std::move(index_);
  }

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool binary(binary_t&) override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_unsigned(number_unsigned_t value) override {
    if (is_total_size()) index_.total_size = value;
    return other();
  }
  bool number_float(number_float_t value, const string_t&) override {
    constexpr double kEnd = 0x1p64;
    const bool is_size = value >= 0 && value < kEnd && std::trunc(value) == value;
    if (is_total_size() && is_size) index_.total_size = static_cast<uint64_t>(value);
    return other();
  }

  bool string(string_t& value) override {
    if (!in_map()) return other();
    if (!is_file_name(value)) {
      fail(
          "{}: tensor '{}' is said to be in '{}', expected the name of a file in this folder",
          path_,
          shown(key_),
          shown(value));
    }
    if (index_.entries.size() == kMaxTensors) {
      fail("{}: the index has more than {} tensors", path_, kMaxTensors);
    }
    const auto next = static_cast<uint32_t>(file_numbers_.size());
    const uint32_t file = file_numbers_.try_emplace(std::move(value), next).first->second;
    index_.entries.push_back({std::move(key_), file});
    return true;
  }

  bool start_object(std::size_t) override {
    if (in_map()) refuse_entry();
    if (depth_ == 1 && key_ == kWeightMap) {
      if (has_map_) fail("{}: the index has two weight_maps", path_);
      has_map_ = true;
    }
    if (depth_ == 1) section_ = key_;
    return open();
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) fail("{}: not a JSON index: it is a list, expected an object", path_);
    if (in_map()) refuse_entry();
    return open();
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (in_map() && name.size() > kMaxNameBytes) {
      fail(
          "{}: a tensor's name has {} bytes, expected at most {}: '{}'",
          path_,
          name.size(),
          kMaxNameBytes,
          shown(name));
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(
      std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail("{}: not a JSON index: it is not valid JSON at its byte {}", path_, position);
  }

 private:
  static std::string shown(std::string_view text) {
    return std::string(text.substr(0, kShownBytes)) + (text.size() > kShownBytes ? "..." : "");
  }

  bool in_map() const { return depth_ == 2 && section_ == kWeightMap; }
  bool is_total_size() const { return depth_ == 2 && section_ == "metadata" && key_ == kTotalSize; }

  // A value that says nothing here.
  bool other() {
    if (in_map()) refuse_entry();
    return true;
  }

  bool open() {
    ++depth_;
    return true;
  }

  bool close() {
    if (--depth_ == 1) section_.clear();
    return true;
  }

  [[noreturn]] void refuse_map() const { fail("{}: the index has no weight_map", path_); }

  [[noreturn]] void refuse_entry() const {
    fail("{}: weight_map['{}'] is not a file name", path_, shown(key_));
  }

  void sort_entries() {
    std::ranges::sort(index_.entries, {}, &Index::Entry::tensor);
    const auto twice = std::ranges::adjacent_find(index_.entries, {}, &Index::Entry::tensor);
    if (twice != index_.entries.end()) {
      fail("{}: the tensor '{}' appears twice in weight_map", path_, twice->tensor);
    }
  }

  void sort_files() {
    for (const auto& [name, number] : file_numbers_) index_.files.push_back(name);
    std::ranges::sort(index_.files, natural_less);
    std::vector<uint32_t> places(index_.files.size());
    for (uint32_t i = 0; i < places.size(); ++i) places[file_numbers_.at(index_.files[i])] = i;
    for (Index::Entry& entry : index_.entries) entry.file = places[entry.file];
  }

  std::string path_;
  size_t depth_ = 0;
  std::string section_;  // the key of the object at depth 1 that is being read
  std::string key_;
  bool has_map_ = false;
  std::map<std::string, uint32_t> file_numbers_;  // in the order in which they come
  Index index_;
};

}  // namespace

const std::string* Index::file_of(std::string_view tensor) const {
  const auto it = std::ranges::lower_bound(
      entries, tensor, {}, [](const Entry& entry) { return std::string_view(entry.tensor); });
  return it == entries.end() || it->tensor != tensor ? nullptr : &files[it->file];
}

Index read_index(const std::filesystem::path& path) {
  IndexReader reader(path.string());
  const std::string text = read_text(path);
  // nlohmann's lexer takes a zero byte for the end of the text and would not look behind it.
  if (const size_t zero = text.find('\0'); zero != std::string::npos) {
    fail("{}: not a JSON index: it is not valid JSON at its byte {}", path.string(), zero);
  }
  Json::sax_parse(text, &reader);
  return reader.take();
}

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

std::vector<std::string> files_of_index(const std::filesystem::path& index) {
  return read_index(index).files;
}

std::optional<uint64_t> index_total_size(const std::filesystem::path& index) {
  return read_index(index).total_size;
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
