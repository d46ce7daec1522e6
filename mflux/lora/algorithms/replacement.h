// SPDX-License-Identifier: MIT
// A new value for a weight or a bias, whatever the scale.
#pragma once

#include "mflux/lora/algorithms/builder.h"

namespace mflux::lora {

void add_replacement(Builder& builder, const safetensors::TensorInfo& info);
void add_bias_replacement(Builder& builder, const safetensors::TensorInfo& info);

bool is_replacement(const Update& update);

}  // namespace mflux::lora
