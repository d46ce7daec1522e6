// SPDX-License-Identifier: MIT
// Where a LoRA may land: the names that any dialect uses for a layer, and the rows of the model
// they mean. A model's tables make these; the dialects look names up in them; neither knows the
// other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mflux::lora {

// Rows [begin, begin + count) of `tensor` (diffusers name, "...weight") in `component`
// ("transformer", ...).
struct TargetRows {
  std::string component;
  std::string tensor;
  uint64_t begin = 0;
  uint64_t count = 0;

  bool operator==(const TargetRows&) const = default;
};

// Whose name of a layer an alias is. A family whose single files have diffusers' names has no
// `original` ones.
enum class AliasOf : uint8_t { diffusers, mflux, original, others };

// One name of a layer. A fused layer (qkv) is several row ranges in the fused layer's own row
// order; a layer whose halves are swapped (BFL's final modulation) is two ranges in swapped order.
struct Target {
  std::string alias;  // dotted module path without ".weight": "double_blocks.0.img_attn.qkv"
  std::string component;
  std::vector<TargetRows> rows;
  uint64_t outputs = 0;  // rows of the alias: the sum of the ranges
  uint64_t inputs = 0;   // columns
  AliasOf alias_of = AliasOf::others;
  std::string blocks = {};  // the alias's list of blocks: "double_blocks"; "" if it stands alone
  uint64_t block = 0;       // which of them
};

}  // namespace mflux::lora
