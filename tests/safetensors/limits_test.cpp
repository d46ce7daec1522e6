// SPDX-License-Identifier: MIT
// Headers and indexes that say more than any model: refused by a limit with a name, or read in time
// and memory that their length bounds.
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "mflux/safetensors/folder.h"
#include "tests/cost.h"
#include "tests/skip.h"
#include "tests/testing.h"

namespace mflux::safetensors {
namespace {

using testing::contains;
using testing::error_of;
using testing::TempDir;
using testing::write_file;

// A few letters that no other number has.
std::string name_of(size_t number) {
  std::string name;
  for (;; number /= 26) {
    name += static_cast<char>('a' + number % 26);
    if (number < 26) return name;
  }
}

std::string joined(size_t count, const std::function<std::string(size_t)>& part) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + part(i);
  return text;
}

std::string repeated(size_t count, std::string_view what) {
  return joined(count, [&](size_t) { return std::string(what); });
}

std::string entry(const std::string& name, const std::string& shape) {
  return fmt::format(R"("{}":{{"dtype":"U8","shape":[{}],"data_offsets":[0,0]}})", name, shape);
}

std::string many_tensors(size_t count, const std::string& shape, const std::string& prefix = "") {
  return "{" + joined(count, [&](size_t i) { return entry(prefix + name_of(i), shape); }) + "}";
}

std::string metadata_of(size_t count) {
  const auto part = [](size_t i) { return fmt::format(R"("{}":"")", name_of(i)); };
  return R"({"__metadata__":{)" + joined(count, part) + "}}";
}

Header parse(const std::string& json) {
  return parse_header(json, 8 + json.size(), "f");
}

// A file without data.
std::string file_of(const std::string& json) {
  std::string length;
  for (size_t i = 0; i < 8; ++i) length += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return length + json;
}

std::string index_text(size_t tensors, size_t files) {
  return R"({"weight_map":{)" +
         joined(
             tensors,
             [&](size_t i) {
               return fmt::format(R"("{}":"{}.safetensors")", name_of(i), i % files);
             }) +
         "}}";
}

TEST_CASE("a header that says more than any model has is refused by the limit's name") {
  const std::string longest(kMaxNameBytes, 'x');
  struct Case {
    std::string json;
    const char* message;
  };
  const std::vector<Case> table = {
      {many_tensors(kMaxTensors + 1, "0"), "f: the header has more than 100000 tensors"},
      {metadata_of(10'001), "f: the metadata has more than 10000 keys"},
      {"{" + entry(longest + "x", "0") + "}",
       "f: a tensor's name has 1001 bytes, expected at most"},
      {R"({"__metadata__":{")" + longest + R"(x":""}})", "f: a key of the metadata has 1001 bytes"},
      {"{" + entry(std::string(160'000, '.'), "0") + "}", "a tensor's name has 160000 bytes"},
      {R"({"a":{")" + std::string(160'000, 'y') + R"(":1}})", "the unknown key 'yyyyyyyyyy"},
  };
  for (const Case& c : table) {
    CAPTURE(c.message);
    const std::string message = error_of([&] { parse(c.json); });
    CAPTURE(message.substr(0, 200));
    CHECK(contains(message, c.message));
    CHECK(message.size() < 200);
  }
}

TEST_CASE("a header at the limits is read") {
  CHECK(parse(metadata_of(10'000)).metadata.size() == 10'000);
  const std::string longest(kMaxNameBytes, 'x');
  CHECK(parse("{" + entry(longest, "0") + "}").tensors.front().name == longest);
  const Header header = parse(many_tensors(kMaxTensors, "0"));
  CHECK(header.tensors.size() == kMaxTensors);
  CHECK(header.find(name_of(kMaxTensors - 1)) != nullptr);
}

TEST_CASE("reading takes at most ten times the bytes of a header, and a second per MB") {
  struct Case {
    const char* what;
    std::string json;
  };
  const std::vector<Case> table = {
      {"the shortest entries", many_tensors(90'000, "0")},
      {"16 dimensions", many_tensors(40'000, repeated(16, "0"))},
      {"9 dimensions", many_tensors(60'000, repeated(9, "0"))},
      {"names beyond the short ones", many_tensors(50'000, "0", std::string(16, 'n'))},
      {"long names", many_tensors(5'000, "0", std::string(900, 'n'))},
      {"a long value", R"({"__metadata__":{"a":")" + std::string(5'000'000, 'v') + R"("}})"},
  };
  const TempDir folder;
  for (const Case& c : table) {
    CAPTURE(c.what);
    write_file(folder / "x.safetensors", file_of(c.json));
    std::optional<uint64_t> peak;
    const double seconds = testing::seconds_of([&] {
      peak = testing::peak_bytes_of([&] {
        const TensorFolder opened = open_file(folder / "x.safetensors");
        CHECK(opened.tensors.size() == opened.by_name.size());
      });
    });
    if (!peak) return testing::skip("the system does not tell the peak of the memory");
    CHECK(*peak < 10 * c.json.size());
    CHECK(seconds < 1 + static_cast<double>(c.json.size()) / 1e6);
  }
}

TEST_CASE("an index tells file and size, whatever else is in it") {
  const TempDir folder;
  const auto path = folder / "m.safetensors.index.json";
  write_file(path, R"({"weight_map": {"b": "10.safetensors", "a": "2.safetensors", "": "x"},
                       "other": [[1, {"weight_map": {"z": 1}}], null, -1, 1e3, true],
                       "metadata": {"total_size": 12, "deep": {"total_size": 5}, "x": "y"}})");
  const Index index = read_index(path);
  CHECK(index.files == std::vector<std::string>{"2.safetensors", "10.safetensors", "x"});
  REQUIRE(index.file_of("a") != nullptr);
  CHECK(*index.file_of("a") == "2.safetensors");
  CHECK(*index.file_of("b") == "10.safetensors");
  CHECK(*index.file_of("") == "x");
  CHECK(index.file_of("z") == nullptr);
  CHECK(index.total_size == 12);
  const auto total = [&](const std::string& value) {
    write_file(path, R"({"metadata":{"total_size":)" + value + R"(},"weight_map":{"a":"b"}})");
    return read_index(path).total_size;
  };
  CHECK(total("24244183040.0") == 24244183040);
  for (const char* none : {"-1", "1.5", "1e300", "\"12\"", "null", "[12]"}) {
    CAPTURE(none);
    CHECK_FALSE(total(none));
  }
}

TEST_CASE("an index that is damaged or says too much is refused with its name") {
  struct Case {
    std::string json;
    const char* message;
  };
  const std::string named = R"({"weight_map":{"a":)";
  const std::vector<Case> table = {
      {"", "not a JSON index: it is not valid JSON at its byte"},
      {std::string("{}\0", 3), "not valid JSON at its byte 2"},
      {R"({"weight_map":{"a":"b"})", "not valid JSON"},
      {"{\"weight_map\":{\"a\":\"\xff\"}}", "not valid JSON"},
      {std::string(1'000'000, '['), "not a JSON index: it is a list"},
      {R"({"x":)" + std::string(1'000'000, '['), "not valid JSON"},
      {R"([{"weight_map":{"a":"b"}}])", "not a JSON index: it is a list"},
      {"null", "the index has no weight_map"},
      {R"({"weight_map":[{"a":"b"}]})", "the index has no weight_map"},
      {R"({"metadata":{"weight_map":{"a":"b"}}})", "the index has no weight_map"},
      {R"({"weight_map":{}})", "names no tensors"},
      {named + "1}}", "weight_map['a'] is not a file name"},
      {named + "null}}", "weight_map['a'] is not a file name"},
      {named + "[\"b\"]}}", "weight_map['a'] is not a file name"},
      {named + "{\"b\":\"c\"}}}", "weight_map['a'] is not a file name"},
      {named + R"("../b"}})", "is said to be in '../b'"},
      {named + R"("\u0000"}})", "is said to be in '"},
      {named + R"("b\\c"}})", "expected the name of a file"},
      {named + "\"" + std::string(5'000'000, 'f') + "\"}}", "said to be in 'fff"},
      {named + R"(".."}})", "expected the name of a file"},
      {named + R"("b","a":"b"}})", "the tensor 'a' appears twice"},
      {named + R"("b"},"weight_map":{"c":"d"}})", "has two weight_maps"},
      {R"({"weight_map":{")" + std::string(160'000, 'x') + R"(":"b"}})", "name has 160000 bytes"},
      {named + "\"" + std::string(160'000, '/') + "\"}}", "is said to be in '////"},
      {index_text(kMaxTensors + 1, 1), "the index has more than 100000 tensors"},
  };
  const TempDir folder;
  const auto path = folder / "m.safetensors.index.json";
  for (const Case& c : table) {
    CAPTURE(c.message);
    write_file(path, c.json);
    const std::string message = error_of([&] { read_index(path); });
    CAPTURE(message.substr(0, 300));
    CHECK(message.starts_with(path.string() + ": "));
    CHECK(contains(message, c.message));
    CHECK(message.size() < 500);
  }
}

TEST_CASE("an index of many tensors and files is read in time and memory by its length") {
  const TempDir folder;
  const auto path = folder / "m.safetensors.index.json";
  for (const size_t files : {size_t{1}, size_t{50'000}}) {
    CAPTURE(files);
    const std::string text = index_text(100'000, files);
    write_file(path, text);
    std::optional<uint64_t> peak;
    const double seconds = testing::seconds_of([&] {
      peak = testing::peak_bytes_of([&] { CHECK(read_index(path).entries.size() == 100'000); });
    });
    if (!peak) return testing::skip("the system does not tell the peak of the memory");
    CHECK(*peak < 10 * text.size());
    CHECK(seconds < 1 + static_cast<double>(text.size()) / 1e6);
  }
}

TEST_CASE("an index that names more tensors than the file has is compared in time") {
  const TempDir folder;
  const std::string json = many_tensors(20'000, "0");
  write_file(folder / "0.safetensors", file_of(json));
  write_file(folder / "m.safetensors.index.json", index_text(99'999, 1));
  const auto begin = std::chrono::steady_clock::now();
  CHECK(contains(error_of([&] { open_folder(folder.path()); }), "is not in 0.safetensors, where"));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  CHECK(seconds.count() < 4);
}

TEST_CASE("the files of a folder have a common limit") {
  const TempDir folder;
  for (const char* half : {"0", "1"}) {
    write_file(
        folder / (std::string(half) + ".safetensors"), file_of(many_tensors(60'000, "0", half)));
  }
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }), "its files have more than 100000 tensors"));
}

TEST_CASE("a tensor that two files hold is named with both") {
  const TempDir folder;
  testing::write_safetensors(
      folder / "0.safetensors",
      {testing::f32_tensor("b", {1}, {1}), testing::f32_tensor("a", {1}, {1})});
  testing::write_safetensors(folder / "1.safetensors", {testing::f32_tensor("a", {1}, {1})});
  CHECK(contains(
      error_of([&] { open_folder(folder.path()); }),
      "tensor 'a' is in both 0.safetensors and 1.safetensors"));
}

}  // namespace
}  // namespace mflux::safetensors
