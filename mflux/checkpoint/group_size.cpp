// SPDX-License-Identifier: MIT
#include "mflux/checkpoint/group_size.h"

#include <array>
#include <map>
#include <set>

namespace mflux {
namespace {

constexpr std::array<int, 3> kGroupSizes = {64, 32, 128};  // the most usual first
constexpr std::array<uint64_t, 6> kBits = {2, 3, 4, 5, 6, 8};

std::optional<QuantFormat> format_of(uint64_t packed_columns, uint64_t groups, int group_size) {
  for (const uint64_t bits : kBits) {
    uint64_t weights = 0;
    if (__builtin_mul_overflow(groups, static_cast<uint64_t>(group_size) * bits, &weights)) break;
    if (groups != 0 && weights % 32 == 0 && weights / 32 == packed_columns) {
      return QuantFormat{
          .mode = QuantMode::affine, .bits = static_cast<int>(bits), .group_size = group_size};
    }
  }
  return std::nullopt;
}

bool is_told(const Component& component) {
  return !component.folder.metadata("mflux_cpp_mode").empty() ||
         !component.folder.metadata("mflux_cpp_group_size").empty();
}

class Settler {
 public:
  explicit Settler(Component& component) : component_(component) {}

  void settle(const std::map<size_t, uint64_t>& columns) {
    std::set<int> sizes;
    for (const auto& [index, expected] : columns) {
      if (!packed(index)) continue;
      const uint64_t groups = groups_of(index);
      for (const int size : kGroupSizes) {
        if (groups * static_cast<uint64_t>(size) == expected && change(index, size)) {
          sizes.insert(size);
        }
      }
    }
    if (sizes.size() != 1) return;
    for (size_t i = 0; i < component_.tensors.size(); ++i) {
      if (packed(i) && !columns.contains(i)) change(i, *sizes.begin());
    }
  }

 private:
  bool packed(size_t index) const { return component_.tensors[index].format.has_value(); }
  uint64_t groups_of(size_t index) const {
    return component_.tensors[index].scales->info.spec.shape[1];
  }

  bool change(size_t index, int size) {
    LogicalTensor& tensor = component_.tensors[index];
    const uint64_t groups = groups_of(index);
    const uint64_t before = tensor.spec.shape[1];
    const auto format = format_of(tensor.format->packed_columns(before), groups, size);
    if (!format) return false;
    tensor.format = *format;
    tensor.spec.shape[1] = groups * static_cast<uint64_t>(size);
    component_.source.tensors[index].spec = tensor.spec;
    return true;
  }

  Component& component_;
};

}  // namespace

std::optional<QuantFormat> likely_format(uint64_t packed_columns, uint64_t groups) {
  for (const int size : kGroupSizes) {
    if (const auto format = format_of(packed_columns, groups, size)) return format;
  }
  return std::nullopt;
}

void settle_group_sizes(Checkpoint& model) {
  for (Component& component : model.components) {
    if (is_told(component)) continue;
    Settler(component).settle(
        models::expected_columns(*model.family, component.source, model.naming));
  }
}

}  // namespace mflux
