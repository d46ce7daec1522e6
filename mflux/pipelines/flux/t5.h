// SPDX-License-Identifier: MIT
// T5's encoder, of which FLUX.1 wants one vector per token, padding included.
#pragma once

#include <span>
#include <vector>

#include "mflux/nn/layers.h"
#include "mflux/pipelines/flux/config.h"

namespace mflux::pipelines::flux {

struct T5Block {
  mx::array attention_norm = mx::array(0.0F);
  nn::Linear q = {};
  nn::Linear k = {};
  nn::Linear v = {};
  nn::Linear out = {};
  mx::array feed_forward_norm = mx::array(0.0F);
  nn::Linear gate = {};
  nn::Linear up = {};
  nn::Linear down = {};
};

struct T5 {
  T5Config config = {};
  nn::Embedding tokens = {};
  nn::Embedding relative_bias = {};  // [buckets, heads], of all blocks
  std::vector<T5Block> blocks = {};
  mx::array final_norm = mx::array(0.0F);
};

T5 load_t5(const nn::Weights& weights);

// -> [1, tokens, width]. `ids`: at least one, each a row of the vocabulary.
mx::array encode(const T5& t5, std::span<const int32_t> ids);

// The row of the relative bias for a key `distance` tokens after (below zero: before) the query. Of
// the buckets of either direction one half is for single distances, the other for ranges that grow
// up to max_distance (Raffel et al. 2020, section 2.1).
int relative_bucket(int distance, int buckets, int max_distance);

}  // namespace mflux::pipelines::flux
