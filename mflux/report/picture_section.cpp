// SPDX-License-Identifier: MIT
#include <cmath>

#include "mflux/report/html.h"
#include "mflux/report/pictures.h"
#include "mflux/report/sections.h"

namespace mflux::report {
namespace {

std::string decibels(double value) {
  return std::isinf(value) ? "equal" : fmt::format("{:.1f} dB", value);
}

void put_means(std::string& out, const PictureGrid& grid) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < grid.columns.size(); ++i) {
    const PictureColumn& column = grid.columns[i];
    if (i == grid.reference) {
      rows.push_back({escape(column.name), "reference", "", ""});
      continue;
    }
    rows.push_back(
        {escape(column.name),
         column.mean_psnr_db ? decibels(*column.mean_psnr_db) : "–",
         fmt::format("{:.3f}", column.mean_ssim),
         fmt::format("{} of {}", column.equal, grid.rows.size())});
  }
  out += table({"Means", ">PSNR", ">SSIM", ">Equal"}, rows);
}

void put_picture(
    std::string& out,
    const PictureRow& row,
    const std::string& column,
    const ReportPicture& picture) {
  const std::string name = escape(row.name + ", " + column);
  put(out,
      "<figure><figcaption><b>{}</b></figcaption><label><input type=\"checkbox\" "
      "aria-label=\"Enlarge {}\"><img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\"></label>\n",
      escape(column),
      name,
      data_uri(picture.png),
      picture.width,
      picture.height,
      name);
  if (picture.difference) {
    put(out,
        "<div class=\"measure\"><p>{}<br>SSIM {:.3f}</p><img src=\"{}\" "
        "alt=\"Difference of {} to the reference\"></div>\n",
        decibels(picture.difference->psnr_db),
        picture.difference->ssim,
        data_uri(picture.difference->png),
        name);
  } else {
    out += "<div class=\"measure\"><p class=\"quiet\">reference</p></div>\n";
  }
  out += "</figure>\n";
}

}  // namespace

void put_pictures(std::string& out, const PictureGrid& grid) {
  put(out,
      "<h2>Pictures</h2>\n<p class=\"quiet\">Each beside the reference, {}. PSNR: the noise "
      "between the two, more is better, over 40 dB is hard to see. SSIM: likeness of structure "
      "(luma), 1 is equal. Small pictures: the difference, {} times as strong; black is equal. "
      "Click a picture to enlarge it.</p>\n",
      escape(grid.columns[grid.reference].name),
      kDifferenceGain);
  put_means(out, grid);
  for (const PictureRow& row : grid.rows) {
    put(out, "<h3>{}</h3>\n", escape(row.name));
    if (!row.prompt.empty()) {
      put(out,
          "<blockquote>{}{}{}</blockquote>\n",
          escape(row.prompt),
          row.settings.empty() ? "" : " · ",
          escape(row.settings));
    }
    put(out, "<div class=\"pictures\" style=\"--columns:{}\">\n", grid.columns.size());
    for (size_t i = 0; i < grid.columns.size(); ++i) {
      put_picture(out, row, grid.columns[i].name, row.pictures[i]);
    }
    out += "</div>\n";
  }
}

}  // namespace mflux::report
