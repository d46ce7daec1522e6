// SPDX-License-Identifier: MIT
// The numbers in a LoRA's tensors.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "mflux/base/joined_files.h"
#include "mflux/base/tensor.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

// Is every value finite as float32. `dtype` is a float.
bool all_finite(Dtype dtype, std::span<const std::byte> data);

// Is every value 0, of either sign. `dtype` is a float.
bool all_zero(Dtype dtype, std::span<const std::byte> data);

// The same of a tensor in its file, which is read piece by piece.
bool all_finite(const safetensors::TensorInfo& info, const JoinedFiles& file);
bool all_zero(const safetensors::TensorInfo& info, const JoinedFiles& file);

// The value of a tensor with one element, float or integer; none of any other tensor.
std::optional<double> read_scalar(const TensorSpec& spec, std::span<const std::byte> data);

std::optional<double> read_scalar(const safetensors::TensorInfo& info, const JoinedFiles& file);

// The values of a small tensor if all are whole numbers and none is negative; else none.
std::vector<uint64_t> read_integers(const TensorSpec& spec, std::span<const std::byte> data);
std::vector<uint64_t> read_integers(const safetensors::TensorInfo& info, const JoinedFiles& file);

// out = value * scale: the product in double, rounded once to float32. `dtype` is a float.
void read_scaled(Dtype dtype, std::span<const std::byte> data, double scale, std::span<float> out);

}  // namespace mflux::lora
