// SPDX-License-Identifier: MIT
// Codes and scales fix bits * group size, not the two; the width of the unpacked matrix is groups *
// group size. So one matrix whose width another tensor shows (a norm beside it, say) settles the
// group size of its whole component.
#include "mflux/checkpoint/group_size.h"

#include <set>

namespace mflux {
namespace {

uint64_t groups_of(const LogicalTensor& tensor) {
  return tensor.scales->info.spec.shape[1];
}

// False, and nothing is changed, if no number of bits gives these codes in groups of `size`.
bool change_group_size(Component& component, size_t index, int size) {
  LogicalTensor& tensor = component.tensors[index];
  const uint64_t groups = groups_of(tensor);
  const uint64_t codes = tensor.format->packed_columns(tensor.spec.shape[1]);
  const auto format = affine_format(codes, groups, size);
  if (!format) return false;
  tensor.format = *format;
  tensor.spec.shape[1] = groups * static_cast<uint64_t>(size);
  component.source.tensors[index].spec = tensor.spec;
  return true;
}

}  // namespace

void settle_group_sizes(Component& component, const std::map<size_t, uint64_t>& columns) {
  const auto is_packed = [&](size_t i) { return component.tensors[i].format.has_value(); };
  std::set<int> sizes;
  for (const auto& [index, expected] : columns) {
    if (!is_packed(index)) continue;
    for (const int size : kAffineGroups) {
      const bool fits =
          groups_of(component.tensors[index]) * static_cast<uint64_t>(size) == expected;
      if (fits && change_group_size(component, index, size)) sizes.insert(size);
    }
  }
  if (sizes.size() != 1) return;
  for (size_t i = 0; i < component.tensors.size(); ++i) {
    if (is_packed(i) && !columns.contains(i)) change_group_size(component, i, *sizes.begin());
  }
}

}  // namespace mflux
