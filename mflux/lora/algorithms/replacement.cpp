// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/replacement.h"

#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/product.h"

namespace mflux::lora {
namespace {

struct Replacement final : Change {
  Factor value = {};

  std::string_view name() const override { return "replacement"; }

  void apply_to_rows(
      const Update&,
      const Prepared&,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const override {
    const std::span<float> values = resized(scratch.left, change.size());
    read_values(value, range.first * range.columns, 1, values);
    for (size_t i = 0; i < values.size(); ++i) {
      change[i] = values[i] - rows[i];
      rows[i] = values[i];
    }
  }
};

void add(Builder& builder, Target target, const Factor& value) {
  Replacement change;
  change.value = value;
  Update update = builder.update(std::move(change));
  update.target = std::move(target);
  update.scale = 1;
  builder.notes.add("replaces the tensor, whatever the scale", builder.module.name);
  builder.add(std::move(update), {value.info});
}

}  // namespace

void add_replacement(Builder& builder, const safetensors::TensorInfo& info) {
  if (builder.refuse_values(info)) return;
  const Target& target = builder.target;
  if (info.name.ends_with(".scale") && info.spec.elements() == 1 && target.outputs != 1) {
    builder.refuse(
        ProblemKind::unsupported,
        fmt::format(
            "'{}' is one number: a scale beside the LoRA, which no trainer of these models writes",
            info.name));
    return;
  }
  if (!builder.fits_target(info)) return;
  add(builder, target, builder.factor(info, target.outputs, target.inputs));
}

void add_bias_replacement(Builder& builder, const safetensors::TensorInfo& info) {
  if (builder.refuse_values(info)) return;
  std::optional<Target> biases = builder.bias_target(info);
  if (!biases) return;
  const Factor value = builder.factor(info, biases->outputs, 1);
  add(builder, std::move(*biases), value);
}

bool is_replacement(const Update& update) {
  return dynamic_cast<const Replacement*>(update.change.get()) != nullptr;
}

}  // namespace mflux::lora
