// SPDX-License-Identifier: MIT
// Both models are mapped to diffusers' names. Tensors are read one after the other, a block of
// about a million weights from each model at a time, as float32, so memory does not grow with the
// model.
#include "mflux/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/checkpoint.h"
#include "mflux/checkpoint/rows.h"
#include "mflux/kernels/convert.h"
#include "mflux/kernels/statistics.h"

namespace mflux {
namespace {

constexpr uint64_t kBlockElements = 1 << 20;

struct Mapped {
  const Component* component = nullptr;
  models::MappedTensor tensor = {};
};

std::map<std::string, Mapped> by_name(const Checkpoint& model) {
  std::map<std::string, Mapped> result;
  for (const Component& component : model.components) {
    const auto mapped = models::map_component(
        *model.family, component.source, model.naming, models::Naming::diffusers);
    for (const models::MappedTensor& tensor : mapped.tensors) {
      result[full_name(component.name, tensor.name)] = {&component, tensor};
    }
  }
  return result;
}

void finish(TensorDifference& difference, const kernels::ErrorSums& sums) {
  difference.max_error = sums.max_error;
  difference.relative_error =
      sums.exact_sq == 0 ? (sums.error_sq == 0 ? 0 : std::numeric_limits<double>::infinity())
                         : std::sqrt(sums.error_sq / sums.exact_sq);
  difference.sqnr_db = sums.error_sq == 0 ? std::numeric_limits<double>::infinity()
                                          : 10 * std::log10(sums.exact_sq / sums.error_sq);
}

// Takes values that are not numbers out of the sums; false if one of them is not the same in both.
bool equal_apart_from_numbers(std::span<float> a, std::span<float> b) {
  if (kernels::all_finite(a) && kernels::all_finite(b)) return true;
  bool equal = true;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(a[i]) && std::isfinite(b[i])) continue;
    equal = equal && (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])));
    a[i] = b[i] = 0;
  }
  return equal;
}

TensorDifference compare_tensor(const std::string& name, const Mapped& a, const Mapped& b) {
  const TensorSpec spec{Dtype::f32, a.tensor.shape};
  const uint64_t columns = spec.row_elements();
  const uint64_t block = std::max<uint64_t>(1, kBlockElements / std::max<uint64_t>(1, columns));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  kernels::ErrorSums sums;
  std::vector<float> left;
  std::vector<float> right;
  std::vector<float> error;
  for (uint64_t row = 0; row < spec.rows(); row += block) {
    const uint64_t rows = std::min(block, spec.rows() - row);
    left.resize(rows * columns);
    right.resize(rows * columns);
    error.resize(rows * columns);
    read_mapped_rows(*a.component, a.tensor, row, rows, left);
    read_mapped_rows(*b.component, b.tensor, row, rows, right);
    if (!equal_apart_from_numbers(left, right)) sums.error_sq = sums.max_error = kInfinity;
    const kernels::ErrorSums part = kernels::storage_error(left, right, rows, columns, error);
    sums.error_sq += part.error_sq;
    sums.exact_sq += part.exact_sq;
    sums.max_error = std::max(sums.max_error, part.max_error);
  }
  TensorDifference difference{.name = name, .elements = spec.elements()};
  finish(difference, sums);
  return difference;
}

}  // namespace

bool CompareReport::equal() const {
  return only_a.empty() && only_b.empty() && other_shape.empty() &&
         std::all_of(
             tensors.begin(), tensors.end(), [](const auto& t) { return t.max_error == 0; });
}

TensorDifference CompareReport::total() const {
  TensorDifference total{.name = "all"};
  double weighted = 0;
  for (const TensorDifference& tensor : tensors) {
    total.max_error = std::max(total.max_error, tensor.max_error);
    total.elements += tensor.elements;
    weighted +=
        tensor.relative_error * tensor.relative_error * static_cast<double>(tensor.elements);
  }
  // The mean over weights: a tensor's share is its number of elements.
  const double mean = total.elements == 0 ? 0 : weighted / static_cast<double>(total.elements);
  total.relative_error = std::sqrt(mean);
  total.sqnr_db = mean == 0 ? std::numeric_limits<double>::infinity() : -10 * std::log10(mean);
  return total;
}

CompareReport compare(
    const std::filesystem::path& a, const std::filesystem::path& b, const SaveEvents& events) {
  const Checkpoint left = open_checkpoint(a);
  const Checkpoint right = open_checkpoint(b);
  if (left.family != right.family) {
    fail(
        "{} is {}, {} is {}: nothing to compare",
        a.string(),
        models::family_title(*left.family),
        b.string(),
        models::family_title(*right.family));
  }
  const std::map<std::string, Mapped> in_a = by_name(left);
  const std::map<std::string, Mapped> in_b = by_name(right);
  CompareReport report;
  SaveProgress progress;
  for (const auto& [name, mapped] : in_a)
    progress.bytes_total += TensorSpec{Dtype::f32, mapped.tensor.shape}.bytes();
  for (const auto& [name, mapped] : in_a) {
    if (events.stop != nullptr && *events.stop) fail(ErrorKind::interrupted, "interrupted");
    const auto other = in_b.find(name);
    if (other == in_b.end()) {
      report.only_a.push_back(name);
    } else if (other->second.tensor.shape != mapped.tensor.shape) {
      report.other_shape.push_back(fmt::format(
          "{}: {} and {}",
          name,
          to_string(mapped.tensor.shape),
          to_string(other->second.tensor.shape)));
    } else {
      report.tensors.push_back(compare_tensor(name, mapped, other->second));
    }
    progress.bytes_done += TensorSpec{Dtype::f32, mapped.tensor.shape}.bytes();
    if (events.progress) events.progress(progress);
  }
  for (const auto& [name, mapped] : in_b) {
    if (in_a.count(name) == 0) report.only_b.push_back(name);
  }
  return report;
}

}  // namespace mflux
