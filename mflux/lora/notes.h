// SPDX-License-Identifier: MIT
// Remarks for the log that would repeat for every layer: each is told once, with its number and the
// first layer.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace mflux::lora {

class Notes {
 public:
  void add(const std::string& text, const std::string& module) {
    auto& [count, first] = counts_[text];
    if (count++ == 0) first = module;
  }

  void write(const std::string& file, std::vector<std::string>& out) const {
    for (const auto& [text, what] : counts_) {
      const auto& [count, first] = what;
      const std::string others = count == 1 ? "" : fmt::format(" and {} more", count - 1);
      out.push_back(fmt::format("{}: {} ({}{})", file, text, first, others));
    }
  }

 private:
  std::map<std::string, std::pair<size_t, std::string>> counts_;
};

}  // namespace mflux::lora
