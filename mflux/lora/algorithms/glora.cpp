// SPDX-License-Identifier: MIT
// GLoRA: W += s * (W * a1 * a2 + b1 * b2); a1 [inputs, rank], a2 and b2 [rank, inputs], b1
// [outputs, rank]. Of a tile both products are made, each over the rank.
#include <utility>

#include <fmt/format.h>

#include "mflux/kernels/low_rank.h"
#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/product.h"

namespace mflux::lora {
namespace {

using enum Parameter;

struct Glora final : Change {
  Factor a1 = {};
  Factor a2 = {};
  Factor b1 = {};
  Factor b2 = {};

  std::string_view name() const override { return kGlora.title; }

  Prepared prepare(const Update& update, uint64_t columns) const override {
    return {
        .factors = {
            packed(read_factor(a1), columns, update.rank),
            packed(read_factor(a2), update.rank, columns),
            packed(read_factor(b2), update.rank, columns)}};
  }

  void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const override {
    const uint64_t rank = update.rank;
    const auto& factors = prepared.factors;
    const std::span<float> inner = resized(scratch.left, range.count * rank);
    kernels::low_rank_product(rows, factors[0], range.count, range.columns, rank, inner);
    for (float& value : inner) {
      value = static_cast<float>(static_cast<double>(value) * update.scale);
    }
    kernels::low_rank_product(inner, factors[1], range.count, rank, range.columns, change);
    const std::span<float> left = resized(scratch.up, range.count * rank);
    read_values(b1, range.first * rank, update.scale, left);
    const std::span<float> plain = resized(scratch.right, change.size());
    kernels::low_rank_product(left, factors[2], range.count, rank, range.columns, plain);
    kernels::add(plain, change);
    kernels::add(change, rows);
  }
};

bool fits(const Glora& change, const Target& target) {
  const uint64_t rank = change.a2.rows;
  return change.a1.rows == target.inputs && change.a2.columns == target.inputs &&
         change.b1.rows == target.outputs && change.b2.columns == target.inputs &&
         change.a1.columns == rank && change.b1.columns == rank && change.b2.rows == rank;
}

void build_glora(Builder& builder) {
  const Module& module = builder.module;
  if (const auto* info = module.find(glora_core)) {
    builder.refuse(
        ProblemKind::unsupported,
        fmt::format("'{}' is the core of a convolution; this is a linear layer", info->name));
    return;
  }
  const std::optional<Factor> a1 = builder.matrix(glora_a1);
  const std::optional<Factor> a2 = builder.matrix(glora_a2);
  const std::optional<Factor> b1 = builder.matrix(glora_b1);
  const std::optional<Factor> b2 = builder.matrix(glora_b2);
  if (!a1 || !a2 || !b1 || !b2) return;
  Glora change;
  change.a1 = *a1;
  change.a2 = *a2;
  change.b1 = *b1;
  change.b2 = *b2;
  if (!fits(change, builder.target)) {  // older LyCORIS has the names the other way round
    std::swap(change.a1, change.a2);
    std::swap(change.b1, change.b2);
  }
  if (!fits(change, builder.target)) {
    const auto text = [&](const Factor& factor) { return to_string(factor.info->spec.shape); };
    builder.refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: GLoRA's a1 {}, a2 {}, b1 {}, b2 {} fit the layer, {}, in neither "
            "order",
            module.name,
            text(*a1),
            text(*a2),
            text(*b1),
            text(*b2),
            builder.base_text()));
    return;
  }
  const uint64_t rank = change.a2.rows;
  Update update = builder.update(std::move(change));
  if (!builder.set_strength(update, rank)) return;
  update.scale = builder.file.scale * update.scale;
  builder.add(std::move(update), {glora_a1, glora_a2, glora_b1, glora_b2, alpha});
}

std::string_view missing(const Module& module) {
  for (const Parameter parameter : {glora_a1, glora_a2, glora_b1, glora_b2}) {
    if (module.find(parameter) == nullptr) return "GLoRA needs a1, a2, b1 and b2";
  }
  return "";
}

}  // namespace

constexpr Algorithm kGlora = {
    .title = "GLoRA",
    .own = set_of({glora_a1, glora_a2, glora_b1, glora_b2, glora_core}),
    .others = set_of({alpha}),
    .takes_alpha = true,
    .missing = missing,
    .build = build_glora,
};

}  // namespace mflux::lora
