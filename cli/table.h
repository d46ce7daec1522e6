// SPDX-License-Identifier: MIT
// Rows of text as aligned columns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mflux::cli {

class Table {
 public:
  // A title that begins with '>' is of a column aligned to the right.
  explicit Table(const std::vector<std::string_view>& titles);
  void add(std::vector<std::string> row);  // as many cells as there are titles
  std::vector<std::string> lines() const;  // titles first, two spaces between columns

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// "0-4, 7, 9-12" of ascending numbers.
std::string format_ranges(const std::vector<uint64_t>& numbers);

}  // namespace mflux::cli
