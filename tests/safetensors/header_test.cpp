// SPDX-License-Identifier: MIT
#include "mflux/safetensors/header.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/testing.h"

namespace mflux::safetensors {
namespace {

using testing::contains;
using testing::error_of;

std::string length_prefix(uint64_t length) {
  std::string prefix;
  for (int i = 0; i < 8; ++i) prefix += static_cast<char>(length >> (8 * i) & 0xff);
  return prefix;
}

Header parse(const std::string& json, uint64_t data_bytes) {
  return parse_header(json, 8 + json.size() + data_bytes, "f");
}

// A header with one tensor, given the values of its three keys.
std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

TEST_CASE("a well-formed header is read to the last byte") {
  struct Good {
    std::string json;
    uint64_t data_bytes;
    std::vector<TensorInfo> tensors;  // offsets from the start of the data
    Metadata metadata;
  };
  const std::vector<Good> table = {
      {"{}", 0, {}, {}},
      {"{}   ", 0, {}, {}},
      {R"({"__metadata__":{}})", 0, {}, {}},
      {R"({"__metadata__":null})", 0, {}, {}},
      {R"({"__metadata__":{"format":"pt","":"\u00e9\n"}})", 0, {}, {{"format", "pt"}, {"", "é\n"}}},
      {tensor(R"("F32")", "[2,3]", "[0,24]"), 24, {{"a", {Dtype::f32, {2, 3}}, 0, 24}}, {}},
      {tensor(R"("BF16")", "[]", "[0,2]"), 2, {{"a", {Dtype::bf16, {}}, 0, 2}}, {}},
      {tensor(R"("I64")", "[0,5]", "[0,0]"), 0, {{"a", {Dtype::i64, {0, 5}}, 0, 0}}, {}},
      {R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},)"
       R"("a":{"data_offsets":[0,2],"shape":[2],"dtype":"F8_E4M3"}})",
       3,
       {{"a", {Dtype::f8_e4m3, {2}}, 0, 2}, {"b", {Dtype::u8, {1}}, 2, 1}},
       {}},
      // Tensors without bytes may share an offset with another.
      {R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("z":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
       R"("y":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
       1,
       {{"z", {Dtype::u8, {0}}, 0, 0},
        {"b", {Dtype::u8, {1}}, 0, 1},
        {"y", {Dtype::u8, {0}}, 1, 0}},
       {}},
  };
  for (const Good& good : table) {
    CAPTURE(good.json);
    Header header = parse(good.json, good.data_bytes);
    CHECK(header.data_begin == 8 + good.json.size());
    CHECK(header.file_bytes == header.data_begin + good.data_bytes);
    CHECK(header.metadata == good.metadata);
    for (TensorInfo& info : header.tensors) info.offset -= header.data_begin;
    CHECK(header.tensors == good.tensors);
  }
}

TEST_CASE("a tensor is found by its whole name") {
  const Header header = parse(tensor(R"("F32")", "[1]", "[0,4]"), 4);
  REQUIRE(header.find("a") != nullptr);
  CHECK(header.find("a")->bytes == 4);
  CHECK(header.find("b") == nullptr);
  CHECK(header.find("") == nullptr);
}

struct Bad {
  std::string json;
  uint64_t data_bytes;
  std::string message;  // part of it
};

void check_refused(const std::vector<Bad>& table) {
  for (const Bad& bad : table) {
    CAPTURE(bad.json);
    const std::string message = error_of([&] { parse(bad.json, bad.data_bytes); });
    CAPTURE(message);
    CHECK(message.starts_with("f: "));
    CHECK(contains(message, bad.message));
  }
}

TEST_CASE("what is not a JSON object of objects is refused") {
  check_refused({
      {"", 0, "does not begin with '{'"},
      {"[]", 0, "does not begin with '{'"},
      {" {}", 0, "does not begin with '{'"},
      {"\xef\xbb\xbf{}", 0, "does not begin with '{'"},
      {"null", 0, "does not begin with '{'"},
      {"{", 0, "not valid JSON"},
      {"{}}", 0, "not valid JSON at its byte 3"},
      {"{}{}", 0, "not valid JSON"},
      {"{} /* */", 0, "not valid JSON"},
      {"{,}", 0, "not valid JSON"},
      {R"({"a":})", 0, "not valid JSON"},
      {R"({"a" {}})", 0, "not valid JSON"},
      {R"({"a":NaN})", 0, "not valid JSON"},
      {"{\"\xff\":{}}", 0, "not valid JSON"},
      {"{\"\xc0\xaf\":{}}", 0, "not valid JSON"},
      {R"({"\ud800":{}})", 0, "not valid JSON"},
      {"{\"a\nb\":{}}", 0, "not valid JSON"},
      {std::string("{}\0garbage", 10), 0, "not valid JSON at its byte 2"},
      {R"({"a":1})", 0, "the entry 'a' is the number 1, expected an object"},
      {R"({"a":null})", 0, "the entry 'a' is null, expected an object"},
      {R"({"a":true})", 0, "the entry 'a' is a boolean"},
      {R"({"a":"b"})", 0, "the entry 'a' is a string"},
      {R"({"a":[]})", 0, "the entry 'a' is an array"},
      {R"({"a":{"dtype":{}}})", 0, "'dtype' of tensor 'a' is an object"},
      {R"({"a":)" + std::string(1000000, '['), 0, "the entry 'a' is an array"},
      {R"({"a":)" + std::string(1000000, '{'), 0, "not valid JSON"},
      {R"({"a":{"shape":)" + std::string(1000000, '['), 0, "'shape' of tensor 'a' is an array"},
  });
}

TEST_CASE("metadata that are not strings are refused") {
  check_refused({
      {R"({"__metadata__":"x"})", 0, "the entry '__metadata__' is a string, expected an object"},
      {R"({"__metadata__":null,"__metadata__":null})", 0, "the key '__metadata__' appears twice"},
      {R"({"__metadata__":{"format":null}})", 0, "the metadata 'format' is null"},
      {R"({"__metadata__":[]})", 0, "the entry '__metadata__' is an array"},
      {R"({"__metadata__":{"a":1}})", 0, "the metadata 'a' is the number 1, expected a string"},
      {R"({"__metadata__":{"a":-1}})", 0, "the metadata 'a' is the number -1"},
      {R"({"__metadata__":{"a":1.5}})", 0, "the metadata 'a' is the number 1.5"},
      {R"({"__metadata__":{"a":null}})", 0, "the metadata 'a' is null"},
      {R"({"__metadata__":{"a":{}}})", 0, "the metadata 'a' is an object"},
      {R"({"__metadata__":{"a":[]}})", 0, "the metadata 'a' is an array"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "the key 'a' appears twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "the key '__metadata__' appears twice"},
  });
}

TEST_CASE("a tensor entry that is incomplete or says too much is refused") {
  const std::string good = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  check_refused({
      {R"({"a":{}})", 0, "tensor 'a' has no 'dtype'"},
      {R"({"a":{"dtype":"U8"}})", 0, "tensor 'a' has no 'shape'"},
      {R"({"a":{"dtype":"U8","shape":[1]}})", 1, "tensor 'a' has no 'data_offsets'"},
      {R"({"a":{)" + good + R"(,"x":1}})", 1, "tensor 'a' has the unknown key 'x'"},
      {R"({"a":{)" + good + R"(,"dtype":"U8"}})", 1, "tensor 'a' has 'dtype' twice"},
      {R"({"a":{)" + good + R"(,"shape":[1]}})", 1, "tensor 'a' has 'shape' twice"},
      {R"({"a":{)" + good + R"(,"data_offsets":[0,1]}})", 1, "tensor 'a' has 'data_offsets' twice"},
      {R"({"a":{)" + good + R"(},"a":{)" + good + "}}", 1, "the tensor 'a' appears twice"},
      {R"({"a":{)" + good + R"(},"\u0061":{)" + good + "}}", 1, "the tensor 'a' appears twice"},
      {tensor("5", "[1]", "[0,1]"), 1, "'dtype' of tensor 'a' is the number 5, expected a string"},
      {tensor(R"("F4")", "[1]", "[0,1]"), 1, "tensor 'a' has the unknown dtype 'F4'"},
      {tensor(R"("f32")", "[1]", "[0,4]"), 4, "unknown dtype 'f32'"},
      {tensor(R"("U8")", "1", "[0,1]"),
       1,
       "'shape' of tensor 'a' is the number 1, expected an array"},
      {tensor(R"("U8")", R"("1")", "[0,1]"), 1, "'shape' of tensor 'a' is a string"},
      {tensor(R"("U8")", R"(["1"])", "[0,1]"),
       1,
       "'shape' of tensor 'a' is a string, expected a num"},
      {tensor(R"("U8")", "[[1]]", "[0,1]"), 1, "'shape' of tensor 'a' is an array"},
      {tensor(R"("U8")", "[null]", "[0,1]"), 1, "'shape' of tensor 'a' is null"},
      {tensor(R"("U8")", "null", "[0,1]"), 1, "'shape' of tensor 'a' is null"},
      {tensor(R"("U8")", "[-1]", "[0,1]"), 1, "'shape' of tensor 'a' is the number -1"},
      {tensor(R"("U8")", "[1.0]", "[0,1]"), 1, "'shape' of tensor 'a' is the number 1.0"},
      {tensor(R"("U8")", "[1e0]", "[0,1]"), 1, "'shape' of tensor 'a' is the number 1e0"},
      {tensor(R"("U8")", "[1e999]", "[0,1]"), 1, "not valid JSON"},
      {tensor(R"("U8")", "[18446744073709551616]", "[0,1]"),
       1,
       "is the number 18446744073709551616"},
      {tensor(R"("U8")", "[-9223372036854775809]", "[0,1]"),
       1,
       "is the number -9223372036854775809"},
      {tensor(
           R"("U8")",
           "[1" +
               [] {
                 std::string s;
                 for (int i = 0; i < 64; ++i) s += ",1";
                 return s;
               }() +
               "]",
           "[0,1]"),
       1,
       "more than 16 numbers"},
      {tensor(R"("U8")", "[1]", "[]"), 1, "tensor 'a' has 0 data_offsets, expected 2"},
      {tensor(R"("U8")", "[1]", "[0]"), 1, "tensor 'a' has 1 data_offsets"},
      {tensor(R"("U8")", "[1]", "[0,1,2]"), 1, "tensor 'a' has 3 data_offsets"},
      {tensor(R"("U8")", "[1]", R"({"begin":0})"), 1, "'data_offsets' of tensor 'a' is an object"},
      {tensor(R"("U8")", "[1]", "[-1,0]"), 1, "'data_offsets' of tensor 'a' is the number -1"},
      {tensor(R"("U8")", "[1]", "[0,1.5]"), 1, "'data_offsets' of tensor 'a' is the number 1.5"},
  });
}

TEST_CASE("offsets that do not tile the data are refused") {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
           R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}";
  };
  check_refused({
      {tensor(R"("U8")", "[1]", "[1,0]"), 1, "tensor 'a' begins at byte 1 and ends at 0"},
      {tensor(R"("F32")", "[2,3]", "[0,12]"),
       12,
       "tensor 'a' has 12 bytes, expected 24 for F32 (2, 3)"},
      {tensor(R"("F32")", "[]", "[0,0]"), 0, "tensor 'a' has 0 bytes, expected 4 for F32 ()"},
      {tensor(R"("F32")", "[0]", "[0,4]"), 4, "tensor 'a' has 4 bytes, expected 0"},
      {tensor(R"("U8")", "[8]", "[0,8]"), 7, "tensor 'a' ends at data byte 8, but the file has 7"},
      {tensor(R"("U8")", "[18446744073709551615]", "[0,18446744073709551615]"),
       0,
       "ends at data byte 18446744073709551615"},
      {tensor(R"("F32")", "[4611686018427387904]", "[0,0]"), 0, "more than 64 bits can count"},
      {tensor(R"("U8")", "[4294967296,4294967296]", "[0,0]"), 0, "more than 64 bits can count"},
      {tensor(R"("U8")", "[4]", "[0,4]"), 5, "5 bytes of data follow the header, expected 4"},
      {"{}", 1, "1 bytes of data follow the header, expected 0"},
      {tensor(R"("U8")", "[4]", "[1,5]"),
       5,
       "tensor 'a' begins at data byte 1, expected 0 (there is a hole"},
      {two("[0,4]", "[5,9]"), 9, "tensor 'b' begins at data byte 5, expected 4 (there is a hole"},
      {two("[0,4]", "[3,7]"), 7, "tensor 'b' begins at data byte 3, expected 4 (it overlaps"},
      {two("[0,4]", "[0,4]"), 4, "tensor 'b' begins at data byte 0, expected 4 (it overlaps"},
      {two("[4,8]", "[0,4]"), 9, "9 bytes of data follow the header, expected 8"},
  });
}

TEST_CASE("a file whose length field lies is refused") {
  const testing::TempDir folder;
  const auto message = [&](const std::string& bytes) {
    const std::filesystem::path path = folder / "x.safetensors";
    testing::write_file(path, bytes);
    const std::string text = error_of([&] { read_header(File::open(path)); });
    CHECK(text.starts_with(path.string()));
    return text;
  };
  CHECK(contains(message(""), "0 bytes are too few"));
  CHECK(contains(message("1234567"), "7 bytes are too few"));
  CHECK(contains(message(length_prefix(0)), "does not begin with '{'"));
  CHECK(contains(message(length_prefix(3) + "{}"), "said to have 3 bytes, expected at most 2"));
  CHECK(contains(message(length_prefix(~uint64_t{0}) + "{}"), "expected at most 2"));
  CHECK(contains(message(length_prefix(1) + "{}"), "not valid JSON"));
  CHECK(contains(message(length_prefix(2) + "{} "), "1 bytes of data follow"));
  CHECK(contains(message("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"));
  CHECK(contains(message("PK\x03\x04xxxxxxxxxxxxxxxx"), "pickle"));
  CHECK(contains(message("GGUF\x03xxxxxxxxxxxxxxx"), "GGUF"));
  CHECK(contains(message("\x80\x04\x95xxxxxxxxxxxxxxxx"), "pickle"));
  CHECK(contains(message("<!DOCTYPE html><html><title>Log in</title>"), "web page"));
  CHECK(contains(message("\n  <html>\n<head></head></html>"), "web page"));
  CHECK(contains(message("{\"r\": 16, \"lora_alpha\": 16}"), "JSON"));
  CHECK(contains(message("  [1, 2, 3, 4, 5, 6]"), "JSON"));
  CHECK(contains(message("\x1f\x8b\x08xxxxxxxxxxxxxxx"), "archive"));
  CHECK(contains(message("\x89PNG\r\n\x1a\nxxxxxxxxx"), "picture"));
  CHECK(contains(message("once upon a time"), "a text file"));
  CHECK(contains(message(""), "It is empty"));
  CHECK(contains(message("{}"), "It is JSON"));
  CHECK(contains(message("gone"), "a text file"));
  CHECK(contains(message(std::string(64, '\0')), "begins with zeros"));
  const std::string cut = message(length_prefix(500) + "{\"x.lora_A.weight\": {\"dtype\"");
  CHECK(contains(cut, "cut off inside its header"));
  CHECK(contains(cut, "incomplete download"));
  testing::write_file(folder / "y.safetensors", length_prefix(150'000'000) + "{}");
  std::filesystem::resize_file(folder / "y.safetensors", 200'000'000);
  CHECK(contains(
      error_of([&] { read_header(File::open(folder / "y.safetensors")); }),
      "expected at most 100000000"));
}

TEST_CASE("a header that is written is read back, and its data begin at a multiple of 64") {
  for (size_t count = 0; count < 40; ++count) {
    std::vector<TensorInfo> tensors;
    uint64_t data_bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      tensors.push_back({"t\"" + std::to_string(count - i), {Dtype::bf16, {i, 3}}, 0, 0});
      data_bytes += i * 6;
    }
    const Metadata metadata = count % 2 == 0 ? Metadata{} : Metadata{{"k\n", "\"é"}};
    const std::string bytes = format_header(tensors, metadata);
    CHECK(bytes.size() % 64 == 0);
    CHECK(bytes.substr(0, 8) == length_prefix(bytes.size() - 8));
    const Header header = parse_header(bytes.substr(8), bytes.size() + data_bytes, "f");
    CHECK(header.tensors == tensors);
    CHECK(header.metadata == metadata);
    CHECK(header.data_begin == bytes.size());
  }
}

TEST_CASE("a file is read from disk with offsets from its start") {
  const testing::TempDir folder;
  testing::write_safetensors(
      folder / "x.safetensors",
      {testing::f32_tensor("b", {2}, {1, 2}), testing::f32_tensor("a", {}, {3})},
      {{"format", "pt"}});
  const File file = File::open(folder / "x.safetensors");
  const Header header = read_header(file);
  REQUIRE(header.tensors.size() == 2);
  CHECK(header.tensors[0].name == "b");
  CHECK(header.metadata.at("format") == "pt");
  std::vector<float> value(1);
  file.read(header.find("a")->offset, std::as_writable_bytes(std::span(value)));
  CHECK(value[0] == 3);
}

}  // namespace
}  // namespace mflux::safetensors
