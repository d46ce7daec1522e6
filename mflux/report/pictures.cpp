// SPDX-License-Identifier: MIT
// All pictures of one row (the same NAME in every column) are in memory at a time, decoded, to be
// compared with the reference; what stays is the PNG as it was and a small difference picture.
// Names and columns are checked before the first picture is read.
#include "mflux/report/pictures.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/base/json.h"
#include "mflux/image/difference.h"
#include "mflux/image/png.h"

namespace mflux::report {
namespace {

namespace fs = std::filesystem;

// Without hidden files, which file managers leave behind.
std::set<std::string> names_in(const fs::path& folder, bool folders) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.') && (!folders || entry.is_directory())) names.insert(name);
  }
  return names;
}

// The columns asked for, or all.
std::vector<std::string> choose_columns(const ReportOptions& options) {
  const fs::path& folder = *options.images;
  if (!fs::is_directory(folder)) fail("{}: no such folder", folder.string());
  const std::set<std::string> found = names_in(folder, true);
  if (found.empty()) {
    fail("{}: expected pictures named COLUMN/NAME.png; found no folder", folder.string());
  }
  std::set<std::string> seen;
  for (const std::string& name : options.columns) {
    if (!found.contains(name)) {
      fail(
          ErrorKind::usage,
          "--columns: {} has no folder '{}', expected some of {}",
          folder.string(),
          name,
          fmt::join(found, ", "));
    }
    if (!seen.insert(name).second) fail(ErrorKind::usage, "--columns: '{}' is named twice", name);
  }
  return options.columns.empty() ? std::vector<std::string>(found.begin(), found.end())
                                 : options.columns;
}

size_t choose_reference(const ReportOptions& options, const std::vector<std::string>& columns) {
  if (options.reference.empty()) return 0;
  const auto it = std::ranges::find(columns, options.reference);
  if (it == columns.end()) {
    fail(
        ErrorKind::usage,
        "--reference: '{}' is not a column, expected one of {}",
        options.reference,
        fmt::join(columns, ", "));
  }
  return static_cast<size_t>(it - columns.begin());
}

// "NAME.png" of all columns. Every column must have each.
std::set<std::string> picture_names(
    const fs::path& folder, const std::vector<std::string>& columns) {
  std::set<std::string> names;
  for (const std::string& column : columns) names.merge(names_in(folder / column, false));
  if (names.empty()) fail("{}: the columns hold no pictures", folder.string());
  for (const std::string& name : names) {
    for (const std::string& column : columns) {
      const fs::path file = folder / column / name;
      if (!fs::exists(file)) {
        fail("{}: missing, though other columns have this picture", file.string());
      }
      if (!fs::is_regular_file(file) || file.extension() != ".png") {
        fail("{}: expected a PNG picture named COLUMN/NAME.png", file.string());
      }
    }
  }
  return names;
}

// The recipe that `mflux generate` writes, as far as it is one.
void read_caption(const PngText& text, PictureRow& row) {
  for (const auto& [keyword, value] : text) {
    if (keyword != kRecipeKeyword || !row.prompt.empty()) continue;
    const std::optional<nlohmann::json> recipe = find_json(value);
    if (!recipe || !recipe->is_object()) continue;
    const auto prompt = recipe->find("prompt");
    if (prompt == recipe->end() || !prompt->is_string()) continue;
    row.prompt = prompt->get<std::string>();
    const auto number = [&](const char* key) {
      const auto it = recipe->find(key);
      return it != recipe->end() && it->is_number_integer() ? it->dump() : std::string();
    };
    if (const std::string seed = number("seed"); !seed.empty()) row.settings = "seed " + seed;
    if (const std::string steps = number("steps"); !steps.empty()) {
      row.settings += (row.settings.empty() ? "" : ", ") + steps + " steps";
    }
  }
}

Picture read_png(const fs::path& file, PictureRow& row) {
  std::vector<std::byte> bytes = read_picture_file(file);
  Picture picture = decode_png(bytes, file.string());
  read_caption(decode_png_text(bytes, file.string()), row);
  row.pictures.push_back(
      {.width = picture.width, .height = picture.height, .png = std::move(bytes)});
  return picture;
}

PictureDifference difference(const Picture& reference, const Picture& picture) {
  return {
      .psnr_db = psnr_db(reference, picture),
      .ssim = ssim(reference, picture),
      .png = encode_png(
          amplified_difference(reference, picture, kDifferenceGain, kDifferenceSide), {})};
}

PictureRow read_row(const fs::path& folder, const PictureGrid& grid, const std::string& name) {
  PictureRow row{.name = fs::path(name).stem().string()};
  const auto file = [&](size_t column) { return folder / grid.columns[column].name / name; };
  std::vector<Picture> pictures;
  for (size_t i = 0; i < grid.columns.size(); ++i) pictures.push_back(read_png(file(i), row));
  for (size_t i = 0; i < grid.columns.size(); ++i) {
    if (i == grid.reference) continue;
    try {
      row.pictures[i].difference = difference(pictures[grid.reference], pictures[i]);
    } catch (const Error& error) {
      fail("{}: beside {}: {}", file(i).string(), file(grid.reference).string(), error.what());
    }
  }
  return row;
}

void take_means(PictureGrid& grid) {
  for (size_t i = 0; i < grid.columns.size(); ++i) {
    if (i == grid.reference) continue;
    PictureColumn& column = grid.columns[i];
    double psnr_sum = 0;
    double ssim_sum = 0;
    for (const PictureRow& row : grid.rows) {
      const PictureDifference& difference = *row.pictures[i].difference;
      ssim_sum += difference.ssim;
      if (std::isinf(difference.psnr_db))
        ++column.equal;
      else
        psnr_sum += difference.psnr_db;
    }
    const size_t differ = grid.rows.size() - column.equal;
    if (differ != 0) column.mean_psnr_db = psnr_sum / static_cast<double>(differ);
    column.mean_ssim = ssim_sum / static_cast<double>(grid.rows.size());
  }
}

}  // namespace

PictureGrid read_pictures(const ReportOptions& options) {
  const std::vector<std::string> columns = choose_columns(options);
  PictureGrid grid{.reference = choose_reference(options, columns)};
  for (const std::string& name : columns) grid.columns.push_back({.name = name});
  for (const std::string& name : picture_names(*options.images, columns)) {
    grid.rows.push_back(read_row(*options.images, grid, name));
  }
  take_means(grid);
  return grid;
}

}  // namespace mflux::report
