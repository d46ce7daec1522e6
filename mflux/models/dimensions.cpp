// SPDX-License-Identifier: MIT
#include "mflux/models/dimensions.h"

#include <algorithm>

namespace mflux::models {
namespace {

Dimension parse_sum(std::string_view text) {
  Dimension terms;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find('+'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    Term term{.factor = 1, .width = part.back()};
    if (part.size() > 1) term.factor = static_cast<uint64_t>(part.front() - '0');
    terms.push_back(term);
  }
  return terms;
}

}  // namespace

std::vector<Dimension> parse_shape(std::string_view text) {
  std::vector<Dimension> shape;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    shape.push_back(parse_sum(part));
  }
  return shape;
}

}  // namespace mflux::models
