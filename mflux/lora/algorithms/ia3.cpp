// SPDX-License-Identifier: MIT
// IA3 of LyCORIS: every row, or every column, times 1 + s * value, in double and rounded once.
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

using enum Parameter;

struct Ia3 final : Change {
  // A vector: of the inputs, or of the outputs.
  Factor value = {};
  bool per_input = false;

  std::string_view name() const override { return kIa3.title; }

  Prepared prepare(const Update&, uint64_t) const override {
    return {.values = read_factor(value)};
  }

  void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch&) const override {
    for (uint64_t i = 0; i < range.count; ++i) {
      for (uint64_t j = 0; j < range.columns; ++j) {
        float& now = rows[i * range.columns + j];
        const auto factor = static_cast<double>(prepared.values[per_input ? j : range.first + i]);
        const auto next =
            static_cast<float>(static_cast<double>(now) * (1 + update.scale * factor));
        change[i * range.columns + j] = next - now;
        now = next;
      }
    }
  }
};

void build_ia3(Builder& builder) {
  const safetensors::TensorInfo& direction = *builder.module.find(on_input);
  const std::optional<double> says = read_scalar(direction, builder.file.bytes);
  if (!says || (*says != 0 && *says != 1)) {
    builder.refuse(
        ProblemKind::bad_dtype,
        fmt::format("'{}' is neither 0 (outputs) nor 1 (inputs)", direction.name));
    return;
  }
  Ia3 change;
  change.per_input = *says == 1;
  const uint64_t size = change.per_input ? builder.target.inputs : builder.target.outputs;
  const safetensors::TensorInfo& info = *builder.module.find(weight);
  if (builder.refuse_values(info)) return;
  if (info.spec.elements() != size || info.spec.shape.size() > 4) {
    builder.refuse_shape(info, fmt::format("({})", size));
    return;
  }
  change.value = builder.factor(info, size, 1);
  builder.add(builder.update(std::move(change)), {weight, on_input});
}

}  // namespace

constexpr Algorithm kIa3 = {
    .title = "IA3",
    .own = set_of({on_input}),
    .others = set_of({weight}),
    .missing = [](const Module& module) -> std::string_view {
      return module.find(weight) != nullptr ? "" : "IA3 needs weight and on_input";
    },
    .build = build_ia3,
};

}  // namespace mflux::lora
