// SPDX-License-Identifier: MIT
// What of a LoRA would survive rounding to 16, 8, 6 and 4 bits: the merge and the quantizer of a
// save, over some rows of every weight it changes, without writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/lora/adapter.h"

namespace mflux {

struct LayerKept {
  std::string tensor = {};  // "transformer/transformer_blocks.0.attn.to_q.weight", canonical names
  std::string stored = {};  // "8-bit affine, group 64", "BF16"
  double kept = 1;          // as in BakeSums
  double relative_error = 0;
};

struct ExpectedKept {
  int bits = 16;  // 16: the model's own dtype
  double kept = 1;
  double relative_error = 0;
  std::vector<LayerKept> layers = {};  // sorted by tensor
};

// What needs a matrix whole (DoRA by column, for one) is merged whole, so that takes as long as in
// a save.
//
// Rows of a weight that are looked at, in runs spread evenly over it; a smaller weight is looked at
// whole. Which rows depends on their number alone.
constexpr uint64_t kSampledRows = 128;

// For LoRA 0 of `loras`, whose problems are left out. Empty if it changes nothing.
std::vector<ExpectedKept> expected_kept(const Checkpoint& model, lora::Loaded& loras);

}  // namespace mflux
