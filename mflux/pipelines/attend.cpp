// SPDX-License-Identifier: MIT
#include "mflux/pipelines/attend.h"

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
