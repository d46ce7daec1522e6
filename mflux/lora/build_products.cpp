// SPDX-License-Identifier: MIT
// LoHa, LoKr, and DoRA on top of them or of a LoRA.
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/builder.h"

namespace mflux::lora {

using enum Parameter;
using safetensors::TensorInfo;

// A matrix that is whole, or a product with or without a core between its factors.
std::optional<Product> Builder::product(
    Parameter whole, Parameter left, Parameter right, std::optional<Parameter> core_parameter) {
  Product result;
  if (module_.find(left) == nullptr) {
    const std::optional<Factor> value = matrix(whole);
    if (!value) return std::nullopt;
    result.whole = *value;
    result.rows = value->rows;
    result.columns = value->columns;
    return result;
  }
  const std::optional<Factor> up_factor = matrix(left);
  const std::optional<Factor> down_factor = matrix(right);
  if (!up_factor || !down_factor) return std::nullopt;
  result.up = *up_factor;
  result.down = *down_factor;
  result.columns = down_factor->columns;
  const TensorInfo* core_info = core_parameter ? module_.find(*core_parameter) : nullptr;
  result.up_flipped = core_info != nullptr;
  uint64_t inner = result.up_flipped ? result.up.rows : result.up.columns;
  result.rows = result.up_flipped ? result.up.columns : result.up.rows;
  if (core_info != nullptr) {
    const std::optional<Factor> between = matrix(*core_parameter);
    if (!between) return std::nullopt;
    result.core = *between;
    if (inner != between->rows)
      inner = 0;
    else
      inner = between->columns;
  }
  if (inner == result.down.rows) return result;
  refuse(
      ProblemKind::rank_mismatch,
      fmt::format(
          "Cannot merge {}: '{}' {} and '{}' {} have no common rank",
          module_.name,
          result.up.info->name,
          to_string(result.up.info->spec.shape),
          result.down.info->name,
          to_string(result.down.info->spec.shape)));
  return std::nullopt;
}

void Builder::add_loha() {
  // Neither is ever whole; classify() has seen to it.
  std::optional<Product> first = product(hada_w1_a, hada_w1_a, hada_w1_b, hada_t1);
  std::optional<Product> second = product(hada_w2_a, hada_w2_a, hada_w2_b, hada_t2);
  if (!first || !second) return;
  for (const Product& part : {*first, *second}) {
    if (part.rows == target_.outputs && part.columns == target_.inputs) continue;
    refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: LoHa's '{}' and '{}' make {}, the layer is {}",
            module_.name,
            part.up.info->name,
            part.down.info->name,
            to_string(Shape{part.rows, part.columns}),
            base_text()));
    return;
  }
  Hadamard update{.module = module_.name, .target = target_};
  update.rank = first->down.rows;
  update.first = std::move(*first);
  update.second = std::move(*second);
  const std::optional<Strength> strong = strength(update.rank);
  if (!strong) return;
  update.alpha = strong->alpha;
  update.alpha_source = strong->source;
  update.scale = strong->scale;
  add_change(
      std::move(update), {hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b, hada_t1, hada_t2, alpha});
}

void Builder::add_lokr() {
  std::optional<Product> first = product(lokr_w1, lokr_w1_a, lokr_w1_b, std::nullopt);
  std::optional<Product> second = product(lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2);
  if (!first || !second) return;
  const Shape made = {first->rows * second->rows, first->columns * second->columns};
  if (made != Shape{target_.outputs, target_.inputs}) {
    refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: LoKr's {} (x) {} make {}, the layer is {}",
            module_.name,
            to_string(Shape{first->rows, first->columns}),
            to_string(Shape{second->rows, second->columns}),
            to_string(made),
            base_text()));
    return;
  }
  Kronecker update{.module = module_.name, .target = target_};
  update.rank = rank_of(*second) != 0 ? rank_of(*second) : rank_of(*first);
  update.first = std::move(*first);
  update.second = std::move(*second);
  if (update.rank != 0) {
    const std::optional<Strength> strong = strength(update.rank);
    if (!strong) return;
    update.alpha = strong->alpha;
    update.alpha_source = strong->source;
    update.scale = strong->scale;
  } else if (module_.find(alpha) == nullptr) {
    update.scale = whole_lokr_scale(module_, file_);
  }
  add_change(
      std::move(update),
      {lokr_w1, lokr_w1_a, lokr_w1_b, lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2, alpha});
}

// The shape tells the axis, since most layers have as many inputs as outputs: [n, 1] and [n] are
// one per output, [1, n] is one per input.
std::optional<Factor> Builder::magnitude(bool& per_input) {
  const TensorInfo& info = *module_.find(Parameter::magnitude);
  if (refuse(check_values(info, file_.bytes))) return std::nullopt;
  const Shape shape = without_ones(info.spec.shape, 1);
  per_input = shape == Shape{1, target_.inputs};
  if (per_input) return factor(info, target_.inputs, 1);
  if (shape == Shape{target_.outputs}) return factor(info, target_.outputs, 1);
  refuse_shape(
      info,
      fmt::format(
          "a magnitude per output ({} or {}) or per input ({})",
          to_string(Shape{target_.outputs}),
          to_string(Shape{target_.outputs, 1}),
          to_string(Shape{1, target_.inputs})));
  return std::nullopt;
}

template <typename Change>
void Builder::add_change(Change change, std::initializer_list<Parameter> parameters) {
  if (module_.find(Parameter::magnitude) == nullptr) {
    change.scale = file_.scale * change.scale;
    return add(std::move(change), parameters);
  }
  Dora dora{.module = module_.name, .target = target_};
  const std::optional<Factor> length = magnitude(dora.per_input);
  if (!length) return;
  dora.magnitude = *length;
  dora.rank = change.rank;
  dora.alpha = change.alpha;
  dora.alpha_source = change.alpha_source;
  dora.scale = file_.scale;
  dora.change = std::move(change);
  add(std::move(dora), parameters);
  built_.updates.back().keys.push_back(module_.find(Parameter::magnitude));
}

template void Builder::add_change(LowRank change, std::initializer_list<Parameter> parameters);
template void Builder::add_change(Hadamard change, std::initializer_list<Parameter> parameters);
template void Builder::add_change(Kronecker change, std::initializer_list<Parameter> parameters);

}  // namespace mflux::lora
