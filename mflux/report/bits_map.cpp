// SPDX-License-Identifier: MIT
// A grid for each kind of block: tensors of the same layer in one column, matrices to the left,
// since those are what is packed; a row for each block. What is outside of blocks is one grid with
// a single row.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include <fmt/ranges.h>

#include "mflux/report/html.h"
#include "mflux/report/plots.h"

namespace mflux::report {
namespace {

constexpr size_t kCell = 13;  // pixels from one cell to the next
constexpr size_t kRow = 11;
constexpr size_t kLabel = 26;    // left of the cells
constexpr double kLetter = 5.8;  // width of an average one, at the labels' size

// Matrices first: what is packed stands together.
using ColumnKey = std::pair<bool, std::string>;
using Grid = std::map<uint64_t, std::map<ColumnKey, const HeldTensor*>>;  // by block

ColumnKey column_of(const HeldTensor& tensor) {
  return {tensor.shape.size() < 2, tensor.place.layer};
}

std::string_view label_of(const ColumnKey& column) {
  std::string_view label = column.second;
  if (label.ends_with(".weight")) label.remove_suffix(7);
  return label;
}

std::string cell_text(const HeldTensor& tensor) {
  return fmt::format(
      "{}\n{}, {}, {}{}",
      tensor.name,
      tensor.stored,
      to_string(tensor.shape),
      readable_size(tensor.bytes),
      tensor.baked ? "; changed by a LoRA" : "");
}

void draw_cell(std::string& out, const HeldTensor& tensor, size_t x, size_t y) {
  put(out,
      "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\"><title>{}</title>"
      "</rect>",
      storage_class(tensor.stored),
      x,
      y,
      kCell - 2,
      kRow - 2,
      escape(cell_text(tensor)));
  if (tensor.baked) {
    put(out,
        "<circle class=\"baked\" cx=\"{}\" cy=\"{}\" r=\"1.6\"/>",
        static_cast<double>(x) + (kCell - 2) / 2.0,
        static_cast<double>(y) + (kRow - 2) / 2.0);
  }
  out += '\n';
}

std::string draw_grid(const std::string& kind, const Grid& grid) {
  std::map<ColumnKey, size_t> columns;
  for (const auto& [block, cells] : grid) {
    for (const auto& [key, tensor] : cells) columns.emplace(key, 0);
  }
  size_t longest = 0;
  size_t next = 0;
  for (auto& [key, column] : columns) {
    column = next++;
    longest = std::max(longest, label_of(key).size());
  }
  const auto top = static_cast<size_t>(static_cast<double>(longest) * kLetter) + 8;
  const size_t width = kLabel + columns.size() * kCell;
  const size_t height = top + grid.size() * kRow;
  std::string out;
  put(out,
      "<figure><figcaption>{}</figcaption><div class=\"scroll\"><svg class=\"bits\" width=\"{}\" "
      "height=\"{}\" role=\"img\" aria-label=\"{}\">\n",
      kind.empty() ? "outside of blocks" : escape(kind),
      width,
      height,
      escape("How the tensors of " + (kind.empty() ? "no block" : kind) + " are stored"));
  for (const auto& [key, column] : columns) {
    put(out,
        "<text transform=\"translate({} {}) rotate(-90)\">{}</text>\n",
        kLabel + column * kCell + 9,
        top - 5,
        escape(label_of(key)));
  }
  size_t y = top;
  for (const auto& [block, cells] : grid) {
    if (!kind.empty()) {
      put(out, "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", kLabel - 6, y + 8, block);
    }
    for (const auto& [key, tensor] : cells) {
      draw_cell(out, *tensor, kLabel + columns.at(key) * kCell, y);
    }
    y += kRow;
  }
  return out + "</svg></div></figure>\n";
}

}  // namespace

std::string storage_class(const std::string& stored) {
  if (const auto bits = bits_of(stored)) return "q" + *bits;
  std::string name;
  for (const char c : stored) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string bits_maps(const ReportFacts& facts, const std::string& component) {
  std::vector<std::pair<std::string, Grid>> grids;  // in the order of the tensors
  for (const HeldTensor& tensor : facts.tensors) {
    if (tensor.place.component != component) continue;
    if (grids.empty() || grids.back().first != tensor.place.kind) {
      grids.push_back({tensor.place.kind, {}});
    }
    grids.back().second[tensor.place.block.value_or(0)][column_of(tensor)] = &tensor;
  }
  std::string out;
  for (const auto& [kind, grid] : grids) out += draw_grid(kind, grid);
  return out;
}

}  // namespace mflux::report
