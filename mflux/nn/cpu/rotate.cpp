// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/rotate.h"

#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>

#include "mflux/nn/cpu/each_row.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/rotate_rows.h"
#include "mflux/nn/cpu/rows.h"

namespace mflux::nn::cpu {
namespace {

using RotateRow = void (*)(const float*, const float*, const float*, size_t, float*);

mx::array rotate(RotateRow row, const mx::array& x, const mx::array& cos, const mx::array& sin) {
  mx::Shape pairs = x.shape();
  pairs.back() /= 2;
  std::vector<mx::array> inputs = {mx::astype(x, mx::float32)};
  for (const mx::array& part : {cos, sin}) {
    inputs.push_back(mx::broadcast_to(mx::astype(part, mx::float32), pairs));
  }
  // Tokens before heads, as the linear layers left them and attention reads them.
  const bool has_heads = x.ndim() > 2;
  if (has_heads) {
    for (mx::array& input : inputs) input = mx::swapaxes(input, -2, -3);
  }
  const auto compute = [row](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const Rows cosines(arrays[1]);
    const Rows sines(arrays[2]);
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        row(rows[i], cosines[i], sines[i], width / 2, out.data() + i * width);
      }
    });
  };
  const mx::Shape shape = inputs[0].shape();
  const mx::array y = operation("Rotate", shape, std::move(inputs), compute);
  return has_heads ? mx::swapaxes(y, -2, -3) : y;
}

}  // namespace

mx::array rotate_pairs(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  return rotate(rotate_pairs, x, cos, sin);
}

mx::array rotate_halves(const mx::array& x, const mx::array& cos, const mx::array& sin) {
  return rotate(rotate_halves, x, cos, sin);
}

}  // namespace mflux::nn::cpu
