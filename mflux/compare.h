// SPDX-License-Identifier: MIT
// Two models, tensor by tensor, in float32 whatever their layout, naming and quantization.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "mflux/events.h"

namespace mflux {

struct TensorDifference {
  std::string name = {};      // "transformer/x_embedder.weight", diffusers naming
  double max_error = 0;       // largest |b - a|; infinite where only one is a number
  double relative_error = 0;  // ||b - a|| / ||a||
  double sqnr_db = 0;         // 10 log10(||a||^2 / ||b - a||^2); infinite if equal
  uint64_t elements = 0;
};

struct CompareReport {
  std::vector<TensorDifference> tensors = {};  // in both, by name
  std::vector<std::string> only_a = {};
  std::vector<std::string> only_b = {};
  std::vector<std::string> other_shape = {};

  bool equal() const;
  TensorDifference total() const;
};

CompareReport compare(
    const std::filesystem::path& a, const std::filesystem::path& b, const SaveEvents& events = {});

}  // namespace mflux
