// SPDX-License-Identifier: MIT
// LoHa: W += s * (first o second), element by element. Both are products of two factors, perhaps
// with a core between them; a tile takes two products and one multiplication.
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/dora.h"
#include "mflux/lora/algorithms/product.h"

namespace mflux::lora {
namespace {

using enum Parameter;

struct Hadamard final : TwoProducts {
  std::string_view name() const override { return kHadamard.title; }

  void change_of(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> change,
      RowScratch& scratch) const override {
    const auto rows = [&](const Product& product, size_t i, double scale, std::span<float> out) {
      product_rows(product, prepared.factors[i], range.first, range.count, scale, out, scratch.up);
    };
    const std::span<float> other = resized(scratch.right, change.size());
    rows(first, 0, update.scale, change);
    rows(second, 1, 1, other);
    for (size_t i = 0; i < change.size(); ++i) change[i] *= other[i];
  }
};

void build_hadamard(Builder& builder) {
  Hadamard change;
  // Neither is ever whole: the row's `missing` has seen to it.
  auto first = build_product(builder, hada_w1_a, hada_w1_a, hada_w1_b, hada_t1);
  auto second = build_product(builder, hada_w2_a, hada_w2_a, hada_w2_b, hada_t2);
  if (!first || !second) return;
  const Target& target = builder.target;
  for (const Product& part : {*first, *second}) {
    if (part.rows == target.outputs && part.columns == target.inputs) continue;
    builder.refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: LoHa's '{}' and '{}' make {}, the layer is {}",
            builder.module.name,
            part.up.info->name,
            part.down.info->name,
            to_string(Shape{part.rows, part.columns}),
            builder.base_text()));
    return;
  }
  const uint64_t rank = first->down.rows;
  change.first = std::move(*first);
  change.second = std::move(*second);
  Update update = builder.update(std::move(change));
  if (!builder.set_strength(update, rank)) return;
  add_or_stretch(
      builder,
      kHadamard,
      std::move(update),
      {hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b, hada_t1, hada_t2, alpha});
}

std::string_view missing(const Module& module) {
  const auto has = [&](Parameter parameter) { return module.find(parameter) != nullptr; };
  const bool is_complete = has(hada_w1_a) && has(hada_w1_b) && has(hada_w2_a) && has(hada_w2_b) &&
                           has(hada_t1) == has(hada_t2);
  return is_complete ? "" : "LoHa needs hada_w1_a, hada_w1_b, hada_w2_a and hada_w2_b";
}

// With a core the factors have other shapes.
std::optional<ChangeSize> size_of(const Module& module) {
  const auto* left = module.find(hada_w1_a);
  const auto* right = module.find(hada_w1_b);
  if (left == nullptr || right == nullptr || module.find(hada_t1) != nullptr) return std::nullopt;
  return ChangeSize{left->spec.rows(), right->spec.row_elements()};
}

}  // namespace

constexpr Algorithm kHadamard = {
    .title = "LoHa",
    .dora_title = "LoHa + DoRA",
    .own = set_of({hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b, hada_t1, hada_t2}),
    .others = set_of({alpha, magnitude}),
    .factors = set_of({hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b}),
    .takes_alpha = true,
    .missing = missing,
    .build = build_hadamard,
    .size_of = size_of,
};

}  // namespace mflux::lora
