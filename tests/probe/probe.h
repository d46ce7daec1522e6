// SPDX-License-Identifier: MIT
// build/network_probe MODEL PART INPUT OUTPUT: runs one part of a model's networks on the tensors
// of a safetensors file and writes what comes out, for the comparison with Python (tests/oracle/).
#pragma once

#include <map>
#include <string>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/nn/mlx.h"
#include "mflux/nn/weights.h"

namespace mflux::probe {

using Tensors = std::map<std::string, mx::array>;
using Part = Tensors (*)(const Checkpoint& model, const Tensors& input);

// Throws Error if the input lacks it.
const mx::array& input_of(const Tensors& input, const std::string& name);

// With an input "bfloat16": products in it.
nn::LoadOptions load_options(const Tensors& input);

// "clip", "t5", "transformer", ... -> what runs it. One table per family, in flux.cpp and qwen.cpp.
const std::map<std::string, Part>& flux_parts();
const std::map<std::string, Part>& qwen_parts();

}  // namespace mflux::probe
