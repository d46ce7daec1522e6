// SPDX-License-Identifier: MIT
// key = module + ending. The endings of every dialect, as one table.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mflux::lora {

// What a tensor is for its module, whatever the dialect calls it.
enum class Parameter : uint8_t {
  down,
  up,
  up_bias,
  alpha,
  diff,
  bias_diff,
  core,       // of a Tucker decomposition
  magnitude,  // of DoRA
  weight,     // a new value for the weight; with on_input: the vector of IA3
  bias,       // a new value for the bias
  shape,      // the shape of a widened weight
  rescale,
  on_input,
  hada_w1_a,  // LoHa
  hada_w1_b,
  hada_w2_a,
  hada_w2_b,
  hada_t1,
  hada_t2,
  lokr_w1,
  lokr_w1_a,
  lokr_w1_b,
  lokr_w2,
  lokr_w2_a,
  lokr_w2_b,
  lokr_t2,
  oft_blocks,  // of LyCORIS; with a number at the end kohya's, one per part of the layer
  oft_matrix,  // of PEFT and OneTrainer
  oft_scaled,  // OneTrainer's mark that the matrix is stored larger
  glora_a1,
  glora_a2,
  glora_b1,
  glora_b2,
  glora_core,
};

std::string_view parameter_name(Parameter parameter);  // for people: "A", "bias of B", "alpha"

// Not of single numbers and shapes, which may be integers.
bool holds_floats(Parameter parameter);

struct ParsedKey {
  std::string_view module = {};  // with its prefix, as the file spells it
  Parameter parameter = Parameter::down;
  std::string_view adapter = {};  // the name that PEFT gives each of several adapters
  bool other_order = false;       // MLX's own names: A is [inputs, rank], B [rank, outputs]
};

// `key` without what wrappers put into it (safetensors/wrappers.h). None if no ending fits.
std::optional<ParsedKey> parse_key(std::string_view key);

// Why a key that is known to be no weight change of the model may be left out: a helper of some
// trainer or tool. Empty for every other key.
std::string_view ignored_because(std::string_view key);

// Is it the name of a LoRA's tensor, and not one that a tensor of any model may have. `name` as it
// is in the file.
bool is_of_lora(std::string_view name);

// What a key that cannot be applied is, if it is one of those known. Empty for every other key.
std::string_view refused_because(std::string_view key);

}  // namespace mflux::lora
