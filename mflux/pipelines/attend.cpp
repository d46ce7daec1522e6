// SPDX-License-Identifier: MIT
#include "mflux/pipelines/attend.h"

#include <limits>

#include <mlx/mlx.h>

#include "mflux/base/error.h"

namespace mflux::pipelines {

mx::array split_heads(const mx::array& x, int heads) {
  const mx::array parts = mx::reshape(x, {x.shape(0), x.shape(1), heads, x.shape(2) / heads});
  return mx::transpose(parts, {0, 2, 1, 3});
}

mx::array join_heads(const mx::array& x) {
  return mx::reshape(
      mx::transpose(x, {0, 2, 1, 3}), {x.shape(0), x.shape(2), x.shape(1) * x.shape(3)});
}

mx::array tokens_between(const mx::array& x, int first, int end) {
  if (first == 0 && end == x.shape(1)) return x;
  return mx::slice(x, {0, first, 0}, {x.shape(0), end, x.shape(2)});
}

mx::array causal_mask(int tokens) {
  const mx::array index = mx::arange(0, tokens, mx::int32);
  const mx::array later = mx::less(mx::expand_dims(index, 1), mx::expand_dims(index, 0));
  return mx::where(later, mx::array(-std::numeric_limits<float>::infinity()), mx::array(0.0F));
}

void check_ids(std::string_view component, std::span<const int32_t> ids, int vocabulary) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocabulary) {
      fail(
          "{}: token {} is outside the vocabulary of {}; the tokenizer belongs to another model",
          component,
          id,
          vocabulary);
    }
  }
}

}  // namespace mflux::pipelines
