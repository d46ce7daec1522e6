// SPDX-License-Identifier: MIT
// A difference as large as what it changes: W += s * value, or b += s * value, where the target's
// tensors are the biases.
#pragma once

#include <cstdint>
#include <span>

#include "mflux/lora/algorithms/builder.h"

namespace mflux::lora {

struct Dense final : Change {
  // [outputs, inputs]
  Factor value = {};

  std::string_view name() const override { return "difference"; }
  bool depends_on_order() const override { return false; }
  void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const override;
};

// Of the module's weight, with the user's scale.
void add_difference(Builder& builder, const safetensors::TensorInfo& info);
// Of its bias.
void add_bias_difference(Builder& builder, const safetensors::TensorInfo& info, double scale);

}  // namespace mflux::lora
