// SPDX-License-Identifier: MIT
#include "mflux/report/pictures.h"

#include <cmath>

#include <doctest/doctest.h>

#include "mflux/image/difference.h"
#include "mflux/image/png.h"
#include "tests/testing.h"

namespace mflux::report {
namespace {

using testing::contains;
using testing::error_of;

Picture shade(uint8_t value, int height = 12, int width = 16) {
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3), value)};
}

// Three columns of two pictures.
struct Shots {
  testing::TempDir folder = {};

  Shots() {
    for (const std::string column : {"base", "lora", "baked"}) {
      std::filesystem::create_directory(folder / column);
      write_png(folder / (column + "/fox.png"), shade(100), {});
      write_png(folder / (column + "/cat.png"), shade(column == "lora" ? 60 : 50), {});
    }
  }

  ReportOptions options() const { return {.images = folder.path()}; }
  std::string refusal(const ReportOptions& options) const {
    return error_of([&] { read_pictures(options); });
  }
  std::string refusal() const { return refusal(options()); }
};

TEST_CASE("columns and rows are sorted, and the first column is what the others are compared to") {
  const Shots shots;
  const PictureGrid grid = read_pictures(shots.options());
  REQUIRE(grid.columns.size() == 3);
  CHECK(grid.columns[0].name == "baked");
  CHECK(grid.columns[1].name == "base");
  CHECK(grid.columns[2].name == "lora");
  CHECK(grid.reference == 0);
  REQUIRE(grid.rows.size() == 2);
  CHECK(grid.rows[0].name == "cat");
  CHECK(grid.rows[1].name == "fox");
  const ReportPicture& cat = grid.rows[0].pictures[2];
  CHECK(cat.width == 16);
  CHECK(cat.height == 12);
  CHECK_FALSE(grid.rows[0].pictures[0].difference);
  REQUIRE(cat.difference);
  CHECK(cat.difference->psnr_db == psnr_db(shade(50), shade(60)));
  CHECK(cat.difference->ssim == ssim(shade(50), shade(60)));
  CHECK(decode_png(cat.difference->png, "").rgb == shade(80).rgb);  // eight times as strong
}

TEST_CASE("means leave out what is equal, and say how often that was") {
  const Shots shots;
  const PictureGrid grid = read_pictures(shots.options());
  CHECK_FALSE(grid.columns[1].mean_psnr_db);
  CHECK(grid.columns[1].equal == 2);
  CHECK(grid.columns[2].mean_psnr_db == psnr_db(shade(50), shade(60)));
  CHECK(grid.columns[2].equal == 1);
  CHECK(grid.columns[2].mean_ssim == doctest::Approx((1 + ssim(shade(50), shade(60))) / 2));
}

TEST_CASE("columns come in the order asked for, beside the reference asked for") {
  const Shots shots;
  ReportOptions options = shots.options();
  options.columns = {"lora", "baked"};
  options.reference = "baked";
  const PictureGrid grid = read_pictures(options);
  REQUIRE(grid.columns.size() == 2);
  CHECK(grid.columns[0].name == "lora");
  CHECK(grid.reference == 1);
  CHECK(grid.rows[0].pictures[0].difference);
}

TEST_CASE("a recipe in a picture becomes the caption, and what is none does not") {
  const Shots shots;
  write_png(
      shots.folder / "lora/fox.png",
      shade(100),
      {{"mflux", R"({"prompt": "a <b> fox", "seed": 42, "steps": 20})"}});
  write_png(
      shots.folder / "lora/cat.png", shade(1), {{"mflux", R"({"prompt": 7)"}, {"mflux", "[]"}});
  const PictureGrid grid = read_pictures(shots.options());
  CHECK(grid.rows[1].prompt == "a <b> fox");
  CHECK(grid.rows[1].settings == "seed 42, 20 steps");
  CHECK(grid.rows[0].prompt == "");
}

TEST_CASE("hidden files are no pictures") {
  const Shots shots;
  testing::write_file(shots.folder / "base/.DS_Store", "x");
  std::filesystem::create_directory(shots.folder / ".thumbnails");
  CHECK(shots.refusal() == "");
}

TEST_CASE("pictures that do not fit together are refused by name") {
  const Shots shots;
  SUBCASE("missing in a column") {
    std::filesystem::remove(shots.folder / "lora/cat.png");
    CHECK(contains(shots.refusal(), "lora/cat.png: missing, though other columns have"));
  }
  SUBCASE("another size") {
    write_png(shots.folder / "lora/cat.png", shade(1, 16, 12), {});
    CHECK(contains(shots.refusal(), "lora/cat.png: beside "));
    CHECK(contains(shots.refusal(), "pictures of 16 x 12 and 12 x 16 pixels"));
  }
  SUBCASE("too small for SSIM") {
    for (const char* column : {"base", "lora", "baked"})
      write_png(shots.folder / (std::string(column) + "/cat.png"), shade(1, 10, 40), {});
    CHECK(contains(shots.refusal(), "base/cat.png: beside "));
    CHECK(contains(shots.refusal(), "40 x 10 pixels are too few for SSIM"));
  }
  SUBCASE("no PNG inside") {
    testing::write_file(shots.folder / "lora/cat.png", "\xff\xd8\xff a JPEG");
    CHECK(contains(shots.refusal(), "lora/cat.png: not a PNG file"));
  }
  SUBCASE("a damaged PNG") {
    std::filesystem::resize_file(shots.folder / "lora/cat.png", 60);
    CHECK(contains(shots.refusal(), "lora/cat.png: not a readable PNG"));
  }
  SUBCASE("an empty file") {
    testing::write_file(shots.folder / "lora/cat.png", "");
    CHECK(contains(shots.refusal(), "lora/cat.png"));
  }
  SUBCASE("another kind of file in every column") {
    for (const char* column : {"base", "lora", "baked"})
      testing::write_file(shots.folder / (std::string(column) + "/a.jpg"), "x");
    CHECK(contains(shots.refusal(), "baked/a.jpg: expected a PNG picture named COLUMN/NAME.png"));
  }
  SUBCASE("a folder in place of a picture") {
    for (const char* column : {"base", "lora", "baked"})
      std::filesystem::create_directory(shots.folder / (std::string(column) + "/a.png"));
    CHECK(contains(shots.refusal(), "baked/a.png: expected a PNG picture"));
  }
}

TEST_CASE("columns that are not there are refused with those that are") {
  const Shots shots;
  ReportOptions options = shots.options();
  options.columns = {"base", "../base"};
  CHECK(
      contains(shots.refusal(options), "no folder '../base', expected some of baked, base, lora"));
  options.columns = {"base", "base"};
  CHECK(shots.refusal(options) == "--columns: 'base' is named twice");
  options.columns = {"base", "lora"};
  options.reference = "baked";
  CHECK(
      shots.refusal(options) == "--reference: 'baked' is not a column, expected one of base, lora");
}

TEST_CASE("a folder without pictures is refused") {
  const testing::TempDir folder;
  const auto refusal = [&](const char* name) {
    return error_of([&] { read_pictures({.images = folder / name}); });
  };
  CHECK(contains(refusal("missing"), "missing: no such folder"));
  CHECK(contains(refusal("."), "expected pictures named COLUMN/NAME.png; found no folder"));
  std::filesystem::create_directory(folder / "base");
  CHECK(contains(refusal("."), "the columns hold no pictures"));
}

}  // namespace
}  // namespace mflux::report
