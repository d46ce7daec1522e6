// SPDX-License-Identifier: MIT
// LoKr: W += s * (first (x) second), their Kronecker product. Row r of it is row r / second.rows of
// the first with row r % second.rows of the second; rows that share one of the first are made
// together, so that it is made once for all of them.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/dora.h"
#include "mflux/lora/algorithms/product.h"

namespace mflux::lora {
namespace {

using enum Parameter;

struct Kronecker final : TwoProducts {
  std::string_view name() const override { return kKronecker.title; }

  void change_of(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> change,
      RowScratch& scratch) const override {
    const std::span<float> left = resized(scratch.left, first.columns);
    for (uint64_t done = 0; done < range.count;) {
      const uint64_t row = range.first + done;
      const uint64_t begin = row % second.rows;
      const uint64_t count = std::min(range.count - done, second.rows - begin);
      product_rows(first, prepared.factors[0], row / second.rows, 1, 1, left, scratch.up);
      const std::span<float> right = resized(scratch.right, count * second.columns);
      product_rows(second, prepared.factors[1], begin, count, 1, right, scratch.up);
      for (uint64_t i = 0; i < count; ++i) {
        for (uint64_t a = 0; a < first.columns; ++a) {
          const double factor = update.scale * static_cast<double>(left[a]);
          const std::span<float> out =
              change.subspan((done + i) * range.columns + a * second.columns, second.columns);
          for (uint64_t b = 0; b < second.columns; ++b) {
            out[b] =
                static_cast<float>(factor * static_cast<double>(right[i * second.columns + b]));
          }
        }
      }
      done += count;
    }
  }
};

// Of two whole factors there is no rank for alpha to be divided by, unless PEFT made them.
double whole_scale(const Module& module, const FileContext& file) {
  for (const AdapterConfig* source : {&file.metadata, &file.sidecar}) {
    const auto config = source->find(module.place.component, module.place.name);
    if (!config) continue;
    const bool counts = config->is_lokr && config->rank && *config->rank != 0;
    return counts ? config->alpha / static_cast<double>(*config->rank) : 1;
  }
  return 1;
}

void build_kronecker(Builder& builder) {
  auto first = build_product(builder, lokr_w1, lokr_w1_a, lokr_w1_b);
  auto second = build_product(builder, lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2);
  if (!first || !second) return;
  const Module& module = builder.module;
  const Shape made = {first->rows * second->rows, first->columns * second->columns};
  if (made != Shape{builder.target.outputs, builder.target.inputs}) {
    builder.refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: LoKr's {} (x) {} make {}, the layer is {}",
            module.name,
            to_string(Shape{first->rows, first->columns}),
            to_string(Shape{second->rows, second->columns}),
            to_string(made),
            builder.base_text()));
    return;
  }
  const uint64_t rank = rank_of(*second) != 0 ? rank_of(*second) : rank_of(*first);
  Kronecker change;
  change.first = std::move(*first);
  change.second = std::move(*second);
  Update update = builder.update(std::move(change));
  if (rank != 0) {
    if (!builder.set_strength(update, rank)) return;
  } else {
    update.scale = module.find(alpha) == nullptr ? whole_scale(module, builder.file) : 1;
  }
  add_or_stretch(
      builder,
      kKronecker,
      std::move(update),
      {lokr_w1, lokr_w1_a, lokr_w1_b, lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2, alpha});
}

std::string_view missing(const Module& module) {
  const auto has = [&](Parameter parameter) { return module.find(parameter) != nullptr; };
  const auto has_factor = [&](Parameter whole, Parameter left, Parameter right) {
    return has(whole) ? !has(left) && !has(right) : has(left) && has(right);
  };
  const bool is_complete = has_factor(lokr_w1, lokr_w1_a, lokr_w1_b) &&
                           has_factor(lokr_w2, lokr_w2_a, lokr_w2_b) &&
                           (!has(lokr_t2) || has(lokr_w2_a));
  return is_complete ? ""
                     : "LoKr needs each of lokr_w1 and lokr_w2, whole or as lokr_..._a and "
                       "lokr_..._b";
}

std::optional<ChangeSize> factor_size(
    const Module& module, Parameter whole, Parameter left, Parameter right) {
  if (const auto* info = module.find(whole)) {
    return ChangeSize{info->spec.rows(), info->spec.row_elements()};
  }
  const auto* a = module.find(left);
  const auto* b = module.find(right);
  if (a == nullptr || b == nullptr) return std::nullopt;
  return ChangeSize{a->spec.rows(), b->spec.row_elements()};
}

// With a core the second factor has another shape.
std::optional<ChangeSize> size_of(const Module& module) {
  const auto first = factor_size(module, lokr_w1, lokr_w1_a, lokr_w1_b);
  const auto second = factor_size(module, lokr_w2, lokr_w2_a, lokr_w2_b);
  if (!first || !second || module.find(lokr_t2) != nullptr) return std::nullopt;
  return ChangeSize{first->outputs * second->outputs, first->inputs * second->inputs};
}

constexpr Parameters kFactors =
    set_of({lokr_w1, lokr_w1_a, lokr_w1_b, lokr_w2, lokr_w2_a, lokr_w2_b});

}  // namespace

constexpr Algorithm kKronecker = {
    .title = "LoKr",
    .dora_title = "LoKr + DoRA",
    .own = kFactors | set_of({lokr_t2}),
    .others = set_of({alpha, magnitude}),
    .factors = kFactors,
    .takes_alpha = true,
    .missing = missing,
    .build = build_kronecker,
    .size_of = size_of,
};

}  // namespace mflux::lora
