// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/dense.h"

#include <utility>

#include <fmt/format.h>

#include "mflux/kernels/low_rank.h"
#include "mflux/lora/algorithms/algorithm.h"

namespace mflux::lora {

void Dense::apply_to_rows(
    const Update& update,
    const Prepared&,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch&) const {
  const uint64_t columns = value.columns;
  read_values(value, range.first * columns, update.scale, change.first(range.count * columns));
  kernels::add(change, rows);
}

void add_difference(Builder& builder, const safetensors::TensorInfo& info) {
  if (builder.refuse_values(info) || !builder.fits_target(info)) return;
  Dense change;
  change.value = builder.factor(info, builder.target.outputs, builder.target.inputs);
  builder.add(builder.update(std::move(change)), {&info});
}

void add_bias_difference(Builder& builder, const safetensors::TensorInfo& info, double scale) {
  if (builder.refuse_values(info)) return;
  std::optional<Target> biases = builder.bias_target(info);
  if (!biases) return;
  Dense change;
  change.value = builder.factor(info, biases->outputs, 1);
  Update update = builder.update(std::move(change));
  update.target = std::move(*biases);
  update.scale = scale;
  builder.add(std::move(update), {&info});
}

namespace {

using enum Parameter;

// ai-toolkit's full rank: A alone, in the weight's own shape.
void build_full_matrix(Builder& builder) {
  const safetensors::TensorInfo& info = *builder.module.find(down);
  if (without_ones(info.spec.shape, 1) == without_ones(builder.weight_shape(), 1)) {
    return add_difference(builder, info);
  }
  builder.refuse(
      ProblemKind::incomplete,
      fmt::format(
          "'{}' has only {}: the matrix B (lora_B, lora_up) is missing",
          builder.module.name,
          builder.module.keys()));
}

}  // namespace

constexpr Algorithm kFullMatrix = {
    .title = "full matrix",
    .own = set_of({down}),
    .missing = [](const Module& module) -> std::string_view {
      return module.find(diff) == nullptr ? "" : "the matrix B (lora_B, lora_up) is missing";
    },
    .build = build_full_matrix,
};

// Differences and new values only, which may stand beside every algorithm: build() adds them.
constexpr Algorithm kDense = {
    .title = "difference",
    .own = set_of({diff, bias_diff, weight, bias}),
    .title_of = [](const Module& module) -> std::string_view {
      const bool is_new = module.find(weight) != nullptr || module.find(bias) != nullptr;
      return is_new ? "replacement" : "difference";
    },
};

}  // namespace mflux::lora
