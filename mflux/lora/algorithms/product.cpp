// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/product.h"

#include <fmt/format.h>

#include "mflux/kernels/low_rank.h"

namespace mflux::lora {

std::optional<Product> build_product(
    Builder& builder,
    Parameter whole,
    Parameter left,
    Parameter right,
    std::optional<Parameter> core) {
  const Module& module = builder.module;
  Product result;
  if (module.find(left) == nullptr) {
    const std::optional<Factor> value = builder.matrix(whole);
    if (!value) return std::nullopt;
    result.whole = *value;
    result.rows = value->rows;
    result.columns = value->columns;
    return result;
  }
  const std::optional<Factor> up = builder.matrix(left);
  const std::optional<Factor> down = builder.matrix(right);
  if (!up || !down) return std::nullopt;
  result.up = *up;
  result.down = *down;
  result.columns = down->columns;
  result.up_flipped = core && module.find(*core) != nullptr;
  uint64_t inner = result.up_flipped ? up->rows : up->columns;
  result.rows = result.up_flipped ? up->columns : up->rows;
  if (result.up_flipped) {
    const std::optional<Factor> between = builder.matrix(*core);
    if (!between) return std::nullopt;
    result.core = *between;
    inner = inner == between->rows ? between->columns : 0;
  }
  if (inner == down->rows) return result;
  builder.refuse(
      ProblemKind::rank_mismatch,
      fmt::format(
          "Cannot merge {}: '{}' {} and '{}' {} have no common rank",
          module.name,
          up->info->name,
          to_string(up->info->spec.shape),
          down->info->name,
          to_string(down->info->spec.shape)));
  return std::nullopt;
}

std::vector<float> packed(std::span<const float> values, uint64_t rank, uint64_t columns) {
  std::vector<float> result(kernels::packed_down_size(rank, columns));
  kernels::pack_down(values, rank, columns, result);
  return result;
}

std::vector<float> packed_down(const Product& product) {
  if (product.down.empty()) return {};
  return packed(read_factor(product.down), product.down.rows, product.down.columns);
}

void product_rows(
    const Product& product,
    std::span<const float> down,
    uint64_t first,
    uint64_t count,
    double scale,
    std::span<float> out,
    std::vector<float>& up) {
  if (product.down.empty()) {
    return read_values(product.whole, first * product.columns, scale, out);
  }
  const uint64_t rank = rank_of(product);
  const std::span<float> factor = resized(up, count * rank);
  read_up(product, first, count, scale, factor);
  kernels::low_rank_product(factor, down, count, rank, product.columns, out);
}

}  // namespace mflux::lora
