// SPDX-License-Identifier: MIT
#include "mflux/image/picture.h"

#include <numeric>

#include <doctest/doctest.h>

#include "mflux/image/png.h"
#include "tests/testing.h"

namespace mflux {
namespace {

Picture gradient(int height, int width) {
  Picture picture{height, width, {}};
  picture.rgb.resize(static_cast<size_t>(height) * static_cast<size_t>(width) * 3);
  std::iota(picture.rgb.begin(), picture.rgb.end(), uint8_t{0});
  return picture;
}

TEST_CASE("a PNG comes back with its pixels and its text") {
  const testing::TempDir folder;
  const Picture picture = gradient(5, 7);
  const PngText text = {{"mflux", R"({"prompt": "Sonnenuntergang über Köln 🌇"})"}, {"empty", ""}};
  write_png(folder / "a.png", picture, text);
  const Picture read = read_picture(folder / "a.png");
  CHECK(read.height == 5);
  CHECK(read.width == 7);
  CHECK(read.rgb == picture.rgb);
  CHECK(read_png_text(folder / "a.png") == text);
}

TEST_CASE("what is no picture is refused by name") {
  const testing::TempDir folder;
  testing::write_file(folder / "text.png", "no picture");
  CHECK_THROWS_AS(read_picture(folder / "text.png"), Error);
  CHECK_THROWS_AS(read_png_text(folder / "text.png"), Error);
  CHECK_THROWS_AS(read_picture(folder / "missing.png"), Error);
  testing::write_file(folder / "damaged.jpg", "\xff\xd8\xff\xe0 damaged");
  CHECK_THROWS_AS(read_picture(folder / "damaged.jpg"), Error);
}

TEST_CASE("a PNG cut anywhere is an error, and its text never reads past the end") {
  const testing::TempDir folder;
  const std::vector<std::byte> bytes = encode_png(gradient(9, 9), {{"mflux", "recipe"}});
  const std::string whole(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (size_t size = 3; size + 12 < whole.size(); size += 5) {
    testing::write_file(folder / "cut.png", whole.substr(0, size));
    CHECK_THROWS_AS(read_picture(folder / "cut.png"), Error);
    if (size >= 8) CHECK(read_png_text(folder / "cut.png").size() <= 1);
  }
}

}  // namespace
}  // namespace mflux
