// SPDX-License-Identifier: MIT
// The matrices that LoHa and LoKr multiply: each whole, or itself a product, with or without a core
// between its factors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mflux/base/buffers.h"
#include "mflux/lora/algorithms/builder.h"

namespace mflux::lora {

// `core`: if the algorithm has one for it. None: refused.
std::optional<Product> build_product(
    Builder& builder,
    Parameter whole,
    Parameter left,
    Parameter right,
    std::optional<Parameter> core = {});

// As kernels::low_rank_product() takes them. [rank, columns].
std::vector<float> packed(std::span<const float> values, uint64_t rank, uint64_t columns);
// Empty if the product is whole.
std::vector<float> packed_down(const Product& product);

// A change that two products make together.
struct TwoProducts : FactoredChange {
  Product first = {};
  Product second = {};

  Prepared prepare(const Update&, uint64_t) const override {
    return {.factors = {packed_down(first), packed_down(second)}};
  }
};

// Rows of a product, times `scale`. down: packed. up: a buffer.
void product_rows(
    const Product& product,
    std::span<const float> down,
    uint64_t first,
    uint64_t count,
    double scale,
    std::span<float> out,
    std::vector<float>& up);

}  // namespace mflux::lora
