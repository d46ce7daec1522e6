// SPDX-License-Identifier: MIT
#include "mflux/pipelines/qwen/gated_mlp.h"

#include <mlx/mlx.h>

#include "mflux/nn/ops.h"

namespace mflux::pipelines::qwen {

GatedMlp load_gated_mlp(const nn::Weights& weights, const std::string& block) {
  return {
      .gate = weights.linear(block + "mlp.gate_proj"),
      .up = weights.linear(block + "mlp.up_proj"),
      .down = weights.linear(block + "mlp.down_proj")};
}

mx::array run(const GatedMlp& mlp, const mx::array& x) {
  const mx::array gated = mx::multiply(nn::silu(nn::linear(x, mlp.gate)), nn::linear(x, mlp.up));
  return nn::linear(gated, mlp.down);
}

}  // namespace mflux::pipelines::qwen
