// SPDX-License-Identifier: MIT
// Small pictures that would take long, or much memory.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <zlib.h>

#include "mflux/image/picture.h"
#include "tests/cost.h"
#include "tests/skip.h"
#include "tests/testing.h"

namespace mflux {
namespace {

using namespace std::string_literals;
using testing::contains;
using testing::error_of;
namespace fs = std::filesystem;

const fs::path kPictures = fs::path(MFLUX_TEST_DATA) / "pictures";

std::string big_endian(size_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
  return bytes;
}

// The picture with its last scan as many times as makes `scans`.
std::string with_scans(size_t scans) {
  const std::string jpeg = testing::read_file(kPictures / "progressive.jpg");
  size_t there = 0;
  for (size_t at = jpeg.find("\xff\xda"); at != jpeg.npos; at = jpeg.find("\xff\xda", at + 1)) {
    ++there;
  }
  const size_t last = jpeg.rfind("\xff\xda");
  const size_t end = jpeg.rfind("\xff\xd9");
  REQUIRE(there > 1);
  REQUIRE(there < scans);
  std::string all = jpeg.substr(0, end);
  for (; there < scans; ++there) all += jpeg.substr(last, end - last);
  return all + jpeg.substr(end);
}

TEST_CASE("a JPEG of more scans than any program writes is refused by their number") {
  const testing::TempDir folder;
  testing::write_file(folder / "a.jpg", with_scans(50));
  CHECK(read_picture(folder / "a.jpg").width == read_picture(kPictures / "progressive.jpg").width);
  for (const size_t scans : {size_t{51}, size_t{5000}}) {
    testing::write_file(folder / "a.jpg", with_scans(scans));
    CHECK(contains(
        error_of([&] { read_picture(folder / "a.jpg"); }),
        fmt::format("a.jpg: the JPEG has {} scans, at most 50 are read", scans)));
  }
}

TEST_CASE("scans of a picture inside a JPEG's segments are not counted") {
  const std::string jpeg = testing::read_file(kPictures / "progressive.jpg");
  const std::string inner = with_scans(60);
  const std::string segment = "\xff\xe2"s + big_endian(inner.size() + 2).substr(2) + inner;
  const testing::TempDir folder;
  testing::write_file(folder / "a.jpg", jpeg.substr(0, 2) + segment + jpeg.substr(2));
  CHECK(read_picture(folder / "a.jpg").rgb == read_picture(kPictures / "progressive.jpg").rgb);
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string checked = type + data;
  const auto* bytes = reinterpret_cast<const Bytef*>(checked.data());
  return big_endian(data.size()) + checked +
         big_endian(crc32(0, bytes, static_cast<uInt>(checked.size())));
}

std::string deflated(size_t size) {
  const std::string plain(size, 'a');
  uLongf bound = compressBound(static_cast<uLong>(size));
  std::string out(bound, '\0');
  REQUIRE(
      compress2(
          reinterpret_cast<Bytef*>(out.data()),
          &bound,
          reinterpret_cast<const Bytef*>(plain.data()),
          static_cast<uLong>(size),
          9) == Z_OK);
  out.resize(bound);
  return out;
}

// After its header a PNG has `chunks`.
std::string with_chunks(const std::string& chunks) {
  const std::string png = testing::read_file(kPictures / "rgb.png");
  const size_t head = 8 + 4 + 4 + 13 + 4;
  return png.substr(0, head) + chunks + png.substr(head);
}

TEST_CASE("chunks of a PNG that become gigabytes cost little, and its pixels are read") {
  const testing::TempDir folder;
  const std::string big = deflated(7'000'000);
  std::string texts;
  for (int i = 0; i < 400; ++i) texts += chunk("zTXt", "k"s + '\0' + '\0' + big);
  std::string international;
  for (int i = 0; i < 400; ++i) {
    international += chunk("iTXt", "k"s + '\0' + '\1' + '\0' + '\0' + '\0' + big);
  }
  std::string palettes;
  for (int i = 0; i < 400; ++i) palettes += chunk("sPLT", "k" + std::to_string(i) + '\0' + "\x08");
  const std::vector<std::string> table = {
      texts,
      international,
      palettes,
      chunk("iCCP", "k"s + '\0' + '\0' + deflated(200'000'000)),
      chunk("tEXt", "k"s + '\0' + std::string(20'000'000, 'x')),
  };
  const std::vector<uint8_t> pixels = read_picture(kPictures / "rgb.png").rgb;
  for (const std::string& chunks : table) {
    CAPTURE(chunks.substr(4, 4));
    const std::string png = with_chunks(chunks);
    testing::write_file(folder / "a.png", png);
    std::optional<uint64_t> peak;
    const double seconds = testing::seconds_of([&] {
      peak = testing::peak_bytes_of([&] { CHECK(read_picture(folder / "a.png").rgb == pixels); });
    });
    if (!peak) return testing::skip("the system does not tell the peak of the memory");
    CHECK(*peak < 10 * png.size() + 140'000'000);  // 32 texts of 4 MB
    CHECK(seconds < 5);
  }
}

TEST_CASE("a TIFF says no more pixels than its compression can hold") {
  const testing::TempDir folder;
  struct Case {
    const char* name;
    size_t width;  // where its values are
    size_t height;
  };
  for (const Case& c :
       {Case{"tiff_lzw.tif", 234, 246},
        Case{"tiff_adobe_deflate.tif", 218, 230},
        Case{"packbits.tif", 214, 226}}) {
    CAPTURE(c.name);
    std::string tiff = testing::read_file(kPictures / c.name);
    tiff.replace(c.width, 2, "\x60\xea");   // 60,000
    tiff.replace(c.height, 2, "\x40\x06");  // 1600
    testing::write_file(folder / "a.tif", tiff);
    CHECK(contains(error_of([&] { read_picture(folder / "a.tif"); }), "cut short or damaged"));
  }
}

TEST_CASE("a file that is too large for a picture is refused by its size") {
  const testing::TempDir folder;
  testing::write_file(folder / "a.png", testing::read_file(kPictures / "rgb.png"));
  fs::resize_file(folder / "a.png", 1'000'000'001);
  CHECK(contains(
      error_of([&] { read_picture(folder / "a.png"); }),
      "1000000001 bytes are too many for a picture, at most 1000000000"));
}

}  // namespace
}  // namespace mflux
