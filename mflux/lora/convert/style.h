// SPDX-License-Identifier: MIT
// How a dialect is written: whose names its layers have, what stands before and after them, and
// what it can say. One row per dialect; reading knows more of them (names.h, grammar.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mflux/lora/family.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

enum class WritingDialect : uint8_t { diffusers, kohya, comfyui };

std::optional<WritingDialect> parse_writing_dialect(std::string_view name);
std::string_view writing_dialect_name(WritingDialect dialect);

struct WritingStyle {
  WritingDialect dialect = WritingDialect::diffusers;
  std::string_view WrittenPrefixes::*prefix = &WrittenPrefixes::diffusers;
  AliasOf alias_of = AliasOf::diffusers;  // where the family has such names, else diffusers'
  bool flat = false;                      // dots of a layer's name as underscores
  bool alpha_tensors = false;             // else alphas are in the metadata, as PEFT has them
  std::string_view down = {};             // endings
  std::string_view up = {};
  std::string_view up_bias = {};  // "" where the dialect has none
  bool differences = false;       // .diff and .diff_b
};

const WritingStyle& writing_style(WritingDialect dialect);

// What stands before the layers of a component; none if the dialect's own programs load no LoRA for
// it.
std::optional<std::string_view> component_prefix(
    const WritingStyle& style, const Family& family, std::string_view component);

// "lora_unet_double_blocks_0_img_attn_qkv"
std::string written_module(
    const WritingStyle& style, std::string_view prefix, std::string_view alias);

// May a tensor with this ending (".lokr_w1", of no plain LoRA) be written in the dialect as it is,
// under the layer's other name.
bool keeps(WritingDialect dialect, std::string_view ending);

}  // namespace mflux::lora
