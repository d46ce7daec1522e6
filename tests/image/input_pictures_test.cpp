// SPDX-License-Identifier: MIT
// Pictures as people send them; tests/oracle/input_pictures.py made them and the pixels that
// Python's mflux, through Pillow, sees in them.
#include <algorithm>
#include <fstream>
#include <map>

#include <doctest/doctest.h>

#include "mflux/image/picture.h"
#include "tests/testing.h"

namespace mflux {
namespace {

using namespace std::string_literals;
namespace fs = std::filesystem;

const fs::path kPictures = fs::path(MFLUX_TEST_DATA) / "pictures";

struct Expected {
  std::string name;
  std::string transparency;
  int width = 0;
  int height = 0;
  std::string hex;
};

std::vector<Expected> expected_pictures() {
  std::ifstream in(kPictures / "expected.txt");
  std::vector<Expected> all;
  for (Expected e; in >> e.name >> e.transparency >> e.width >> e.height >> e.hex;) {
    all.push_back(e);
  }
  return all;
}

std::string hex(const std::vector<uint8_t>& bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string error_of(const fs::path& path) {
  try {
    read_picture(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
  return bytes;
}

std::string reversed(std::string bytes) {
  std::ranges::reverse(bytes);
  return bytes;
}

// The file, with `with` at a place.
std::string changed(const std::string& name, size_t at, const std::string& with) {
  std::string bytes = testing::read_file(kPictures / name);
  return bytes.replace(at, with.size(), with);
}

TEST_CASE("every kind of picture has the pixels that Pillow gives") {
  const std::vector<Expected> all = expected_pictures();
  CHECK(all.size() > 100);
  std::map<std::string, int> kinds;
  for (const Expected& expected : all) {
    CAPTURE(expected.name);
    CAPTURE(expected.transparency);
    const Picture picture = read_picture(
        kPictures / expected.name,
        expected.transparency == "dropped" ? Transparency::dropped : Transparency::on_white);
    CHECK(picture.width == expected.width);
    CHECK(picture.height == expected.height);
    CHECK(hex(picture.rgb) == expected.hex);
    ++kinds[fs::path(expected.name).extension().string()];
  }
  for (const char* kind : {".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"}) CHECK(kinds[kind] > 4);
}

TEST_CASE("content counts, not the name of a file") {
  const testing::TempDir folder;
  for (const char* name : {"color.jpg", "lossless.webp", "palette.gif", "rgb.bmp", "cmyk.tif"}) {
    CAPTURE(name);
    fs::copy_file(kPictures / name, folder / "a.png", fs::copy_options::overwrite_existing);
    CHECK(read_picture(folder / "a.png").rgb == read_picture(kPictures / name).rgb);
  }
}

TEST_CASE("what cannot be read is called what it is, and what can be is told") {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"\0\0\0\x18"
       "ftypheic\0\0\0\0"s,
       "is a HEIC picture"},
      {"\0\0\0\x18"
       "ftypavif\0\0\0\0"s,
       "is an AVIF picture"},
      {"\0\0\0\x18"
       "ftypisom\0\0\0\0"s,
       "is a video (MP4 or MOV)"},
      {"\x1a\x45\xdf\xa3 webm", "is a video (Matroska or WebM)"},
      {"RIFF\0\0\0\0AVI LIST"s, "is a video (AVI)"},
      {"\0\0\0\x0cJXL \r\n\x87\n"s, "is a JPEG XL picture"},
      {"%PDF-1.7", "is a PDF document"},
      {"8BPS\0\1"s, "is a Photoshop document"},
      {"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG drawing"},
      {"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a --><svg/>", "is an SVG drawing"},
      {"\n<!DOCTYPE html><html>", "is a web page"},
      {"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"},
      {"", "is empty"},
      {"a cat", "is not a picture of a known kind"}};
  const testing::TempDir folder;
  for (const auto& [content, message] : files) {
    testing::write_file(folder / "a.png", content);
    const std::string error = error_of(folder / "a.png");
    CAPTURE(error);
    CHECK(error.find((folder / "a.png").string() + ": " + message) == 0);
    CHECK(error.find('\n') == error.npos);
    if (!content.empty()) CHECK(error.find("PNG, JPEG, WebP, TIFF, BMP and GIF") != error.npos);
  }
}

TEST_CASE("a picture of which half is missing is an error") {
  const testing::TempDir folder;
  for (const Expected& expected : expected_pictures()) {
    if (expected.name == "pages.tif") continue;  // its first page ends before
    const std::string whole = testing::read_file(kPictures / expected.name);
    testing::write_file(folder / "cut", whole.substr(0, whole.size() / 2));
    CAPTURE(expected.name);
    const std::string error = error_of(folder / "cut");
    CHECK(error.find((folder / "cut").string()) == 0);
  }
}

TEST_CASE("sizes that a small file cannot hold are refused from the header") {
  const std::string large = big_endian(9000);
  const std::string absurd = big_endian(60'000);
  const std::string jpeg = testing::read_file(kPictures / "color.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  REQUIRE(frame != jpeg.npos);
  const std::vector<std::pair<std::string, std::string>> files = {
      {changed("rgb.png", 16, large + large + "\x08\2\0\0\0\xe2\xb7\xe5\xed"s),
       "cut short or damaged"},
      {changed("palette1.png", 16, absurd + absurd + "\1\3\0\0\0\xba\x1c\xe7\1"s),
       "cut short or damaged"},
      {changed("color.jpg", frame + 5, large.substr(2) + large.substr(2)), "cut short or damaged"},
      {changed("rgb.bmp", 18, reversed(large) + reversed(large)), "the BMP is cut short"},
      {changed("runs8.bmp", 18, reversed(absurd) + reversed(absurd)), "too many"},
      {changed("palette.gif", 6, "\xff\xff\xff\xff"), "too many"},
      {changed("lossless.webp", 21, "\xff\xff\xff\x0f"), "too many"}};
  const testing::TempDir folder;
  for (const auto& [content, message] : files) {
    testing::write_file(folder / "a", content);
    const std::string error = error_of(folder / "a");
    CAPTURE(message);
    CHECK_MESSAGE(error.find(message) != error.npos, error);
  }
}

}  // namespace
}  // namespace mflux
