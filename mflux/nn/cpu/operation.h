// SPDX-License-Identifier: MIT
// A computation of ours as an array of MLX's, for its CPU device only. MLX calls it when the array
// is evaluated, on the thread of the CPU stream; it may use oneTBB.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "mflux/nn/mlx.h"

namespace mflux::nn::cpu {

// Writes all of `out`. The inputs are in any layout (rows.h reads them).
using Compute = std::function<void(const std::vector<mx::array>& inputs, std::span<float> out)>;

// A float32 array of this shape.
mx::array operation(
    std::string name, const mx::Shape& shape, std::vector<mx::array> inputs, Compute compute);

// Are arrays made now evaluated on the CPU?
bool on_cpu();

}  // namespace mflux::nn::cpu
