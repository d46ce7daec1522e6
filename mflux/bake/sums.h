// SPDX-License-Identifier: MIT
// What rounding did to a baked tensor.
#pragma once

#include <cstddef>
#include <map>

#include "mflux/kernels/statistics.h"

namespace mflux {

// How a baked tensor came out. With D the delta of one LoRA, W + sum(D) the exact float32 sum and
// W' what is stored: kept = 1 + <W' - (W + sum D), D> / <D, D>, which for a single LoRA is <W' - W,
// D> / <D, D>.
struct BakeSums {
  struct PerLora {
    double cross = 0;  // <W' - exact, D>
    double norm = 0;   // <D, D>
    double kept() const { return norm == 0 ? 1 : 1 + cross / norm; }
  };
  kernels::ErrorSums error = {};
  std::map<size_t, PerLora> loras = {};  // by index of the LoRA

  void add(const BakeSums& other);
  double relative_error() const;  // ||W' - exact|| / ||exact||
};

}  // namespace mflux
