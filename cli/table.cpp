// SPDX-License-Identifier: MIT
#include "cli/table.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "mflux/base/printable.h"

namespace mflux::cli {

Table::Table(const std::vector<std::string_view>& titles) {
  std::vector<std::string> row;
  for (std::string_view title : titles) {
    right_.push_back(title.starts_with('>'));
    row.emplace_back(title.substr(right_.back() ? 1 : 0));
  }
  rows_.push_back(std::move(row));
}

void Table::add(std::vector<std::string> row) {
  assert(row.size() == right_.size());
  for (std::string& cell : row) cell = printable(cell);
  rows_.push_back(std::move(row));
}

std::vector<std::string> Table::lines() const {
  std::vector<size_t> widths(right_.size());
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += right_[i] ? fmt::format("{:>{}}", row[i], widths[i])
                        : fmt::format("{:<{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string format_ranges(const std::vector<uint64_t>& numbers) {
  std::string text;
  for (size_t begin = 0; begin < numbers.size();) {
    size_t last = begin;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += last == begin ? fmt::format("{}", numbers[begin])
                          : fmt::format("{}-{}", numbers[begin], numbers[last]);
    begin = last + 1;
  }
  return text;
}

}  // namespace mflux::cli
