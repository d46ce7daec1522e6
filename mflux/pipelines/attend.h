// SPDX-License-Identifier: MIT
// What the networks of every family do around attention and token ids.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "mflux/nn/mlx.h"

namespace mflux::pipelines {

// [batch, tokens, heads * width] <-> [batch, heads, tokens, width]
mx::array split_heads(const mx::array& x, int heads);
mx::array join_heads(const mx::array& x);

// x [batch, tokens, channels], without the tokens before `first` and from `end` on.
mx::array tokens_between(const mx::array& x, int first, int end);

// [tokens, tokens] to add to scores: nobody sees what comes later.
mx::array causal_mask(int tokens);

// Throws Error, naming the component, for an id that is no row of a vocabulary of that size.
void check_ids(std::string_view component, std::span<const int32_t> ids, int vocabulary);

}  // namespace mflux::pipelines
