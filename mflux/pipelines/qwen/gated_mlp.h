// SPDX-License-Identifier: MIT
// The feed-forward of Qwen2.5-VL's language model and vision tower: down(silu(gate(x)) * up(x)).
#pragma once

#include <string>

#include "mflux/nn/weights.h"

namespace mflux::pipelines::qwen {

struct GatedMlp {
  nn::Linear gate = {};
  nn::Linear up = {};
  nn::Linear down = {};
};

GatedMlp load_gated_mlp(const nn::Weights& weights, const std::string& block);
mx::array run(const GatedMlp& mlp, const mx::array& x);

}  // namespace mflux::pipelines::qwen
