// SPDX-License-Identifier: MIT
#include "mflux/report/facts.h"

#include <algorithm>

namespace mflux {

double BakedTensor::worst() const {
  double worst = kept.empty() ? 1 : kept.begin()->second;
  for (const auto& [index, share] : kept) worst = std::min(worst, share);
  return worst;
}

std::optional<double> ReportFacts::mean_kept() const {
  double sum = 0;
  size_t count = 0;
  for (const BakedTensor& tensor : baked) {
    for (const auto& [index, share] : tensor.kept) sum += share;
    count += tensor.kept.size();
  }
  return count == 0 ? std::nullopt : std::optional(sum / static_cast<double>(count));
}

std::optional<double> ReportFacts::mean_relative_error() const {
  double sum = 0;
  size_t count = 0;
  for (const BakedTensor& tensor : baked) {
    if (!tensor.relative_error) continue;
    sum += *tensor.relative_error;
    ++count;
  }
  return count == 0 ? std::nullopt : std::optional(sum / static_cast<double>(count));
}

ComponentSize ReportFacts::all_together() const {
  ComponentSize total{.name = "all together"};
  for (const ComponentSize& size : sizes) {
    total.before += size.before;
    total.after += size.after;
  }
  return total;
}

}  // namespace mflux
