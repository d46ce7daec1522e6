// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/activations.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>

#include "mflux/nn/cpu/activation_rows.h"
#include "mflux/nn/cpu/each_row.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/rows.h"

namespace mflux::nn::cpu {

mx::array activation(Activation kind, const mx::array& x) {
  const auto compute = [kind](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows rows(arrays[0]);
    const size_t width = rows.width();
    each_rows(rows.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) activate(kind, rows[i], width, out.data() + i * width);
    });
  };
  return operation("Activation", x.shape(), {mx::astype(x, mx::float32)}, compute);
}

mx::array gated_add(const mx::array& x, const mx::array& gate, const mx::array& y) {
  const auto compute = [](const std::vector<mx::array>& arrays, std::span<float> out) {
    const Rows a(arrays[0]);
    const Rows gates(arrays[1]);
    const Rows b(arrays[2]);
    const size_t width = a.width();
    each_rows(a.count(), width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        gated_add(a[i], gates[i], b[i], width, out.data() + i * width);
      }
    });
  };
  std::vector<mx::array> inputs;
  for (const mx::array& part : {x, gate, y}) {
    inputs.push_back(mx::broadcast_to(mx::astype(part, mx::float32), x.shape()));
  }
  return operation("GatedAdd", x.shape(), std::move(inputs), compute);
}

mx::array join_channels(const std::vector<mx::array>& parts) {
  const auto compute = [](const std::vector<mx::array>& arrays, std::span<float> out) {
    std::vector<Rows> sources;
    size_t width = 0;
    for (const mx::array& array : arrays) width += sources.emplace_back(array).width();
    each_rows(out.size() / width, width, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        float* to = out.data() + i * width;
        for (const Rows& source : sources) to = std::copy_n(source[i], source.width(), to);
      }
    });
  };
  mx::Shape shape = parts.front().shape();
  shape.back() = 0;
  std::vector<mx::array> inputs;
  for (const mx::array& part : parts) {
    shape.back() += part.shape(-1);
    inputs.push_back(mx::astype(part, mx::float32));
  }
  return operation("JoinChannels", shape, std::move(inputs), compute);
}

}  // namespace mflux::nn::cpu
