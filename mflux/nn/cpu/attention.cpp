// SPDX-License-Identifier: MIT
// A task is 256 queries of one head. It goes over the keys 256 at a time: scores by a product of
// matrices, the softmax of what has been seen so far (softmax.h), and the product with the values
// added to the result, which the softmax rescales when a larger score turns up. Memory grows with
// the number of threads, not with tokens squared (Milakov and Gimelshein 2018, arXiv:1805.02867;
// Dao et al. 2022, arXiv:2205.14135).
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/nn/cpu/bfloat16.h"
#include "mflux/nn/cpu/gemm.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"
#include "mflux/nn/cpu/rows.h"
#include "mflux/nn/cpu/scratch.h"
#include "mflux/nn/cpu/softmax.h"

namespace mflux::nn::cpu {
namespace {

// A tile of scores stays in the cache of its core.
constexpr size_t kQueries = 256;
constexpr size_t kKeys = 256;

// Calls use(batch, head, first) for every kQueries tokens of each head, from several threads.
template <typename Use>
void each_tile(size_t batches, size_t heads, size_t tokens, const Use& use) {
  const size_t tiles = (tokens + kQueries - 1) / kQueries;
  tbb::parallel_for(size_t{0}, batches * heads * tiles, [&](size_t task) {
    use(task / tiles / heads, task / tiles % heads, task % tiles * kQueries);
  });
}

// [batch, heads, tokens, head_dim] in any layout that BLAS can read, or a copy.
class Heads {
 public:
  explicit Heads(const mx::array& x)
      : batches(static_cast<size_t>(x.shape(0))),
        heads(static_cast<size_t>(x.shape(1))),
        tokens(static_cast<size_t>(x.shape(2))),
        width(static_cast<size_t>(x.shape(3))) {
    const auto w = static_cast<int64_t>(width);
    if ((w == 1 || x.strides(3) == 1) && (tokens == 1 || x.strides(2) >= w)) {
      data_ = x.data<float>();
      strides_ = {x.strides(0), x.strides(1), tokens == 1 ? w : x.strides(2)};
    } else {
      data_ = copy_.emplace(x).floats();
      const int64_t head = x.shape(2) * w;
      strides_ = {x.shape(1) * head, head, w};
    }
  }
  Matrix at(size_t batch, size_t head, size_t token) const {
    const auto offset = static_cast<int64_t>(batch) * strides_[0] +
                        static_cast<int64_t>(head) * strides_[1] +
                        static_cast<int64_t>(token) * strides_[2];
    return {data_ + offset, static_cast<size_t>(strides_[2])};
  }

  size_t batches;
  size_t heads;
  size_t tokens;
  size_t width;

 private:
  const float* data_ = nullptr;
  std::array<int64_t, 3> strides_ = {};
  std::optional<Packed> copy_ = {};
};

// The same times a factor, rounded.
class RoundedHeads {
 public:
  RoundedHeads(const Heads& x, float factor)
      : heads(x.heads),
        tokens(x.tokens),
        width(x.width),
        values_(x.batches * x.heads * x.tokens * x.width) {
    each_tile(x.batches, heads, tokens, [&](size_t batch, size_t head, size_t first) {
      round(x, {batch, head, first}, std::min(kQueries, tokens - first), factor);
    });
  }
  Bfloat16Matrix at(size_t batch, size_t head, size_t token) const {
    return {row(batch, head, token), width};
  }

  size_t heads;
  size_t tokens;
  size_t width;

 private:
  Bfloat16* row(size_t batch, size_t head, size_t token) const {
    return values_.data() + ((batch * heads + head) * tokens + token) * width;
  }
  void round(const Heads& x, std::array<size_t, 3> first, size_t count, float factor) {
    const auto [batch, head, token] = first;
    const Matrix from = x.at(batch, head, token);
    const Scratch scaled(width);
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(from.data + i * from.stride, width, scaled.data());
      scale(scaled.data(), width, factor);
      round_to_bfloat16(scaled.data(), width, row(batch, head, token + i));
    }
  }

  ScratchOf<Bfloat16> values_;
};

// [batch, heads, queries, keys]; mostly broadcast, so read where it lies.
class Mask {
 public:
  explicit Mask(const mx::array& x)
      : data_(x.data<float>()), strides_{x.strides(0), x.strides(1), x.strides(2), x.strides(3)} {}

  // For keys [key, key + count) of a query; `space` is for those that do not lie side by side.
  const float* at(std::array<size_t, 3> query, size_t key, size_t count, float* space) const {
    const float* row = data_ + static_cast<int64_t>(key) * strides_[3];
    for (size_t i = 0; i < 3; ++i) row += static_cast<int64_t>(query[i]) * strides_[i];
    if (strides_[3] == 1) return row;
    for (size_t i = 0; i < count; ++i) space[i] = row[static_cast<int64_t>(i) * strides_[3]];
    return space;
  }

 private:
  const float* data_;
  std::array<int64_t, 4> strides_;
};

// What a tile of queries is computed from: heads as they are, or rounded.
template <typename HeadsOf>
struct Inputs {
  HeadsOf q;
  HeadsOf k;
  HeadsOf v;
};

class AttentionComputation {
 public:
  AttentionComputation(const std::vector<mx::array>& arrays, float factor)
      : in_{Heads(arrays[0]), Heads(arrays[1]), Heads(arrays[2])}, factor_(factor) {
    if (arrays.size() > 3) mask_.emplace(arrays[3]);
  }

  // out: [batch, queries, heads, width of v]
  void run(Products products, float* out) const {
    if (products == Products::float32) {
      run_in<float>(in_, factor_, out);
    } else {
      run_in<Bfloat16>(
          Inputs<RoundedHeads>{
              RoundedHeads(in_.q, factor_), RoundedHeads(in_.k, 1), RoundedHeads(in_.v, 1)},
          1,
          out);
    }
  }

 private:
  template <typename T, typename In>
  void run_in(const In& in, float factor, float* out) const {
    const auto tile = [&](size_t batch, size_t head, size_t first) {
      queries<T>(in, factor, {batch, head, first}, out);
    };
    each_tile(in_.q.batches, in.q.heads, in.q.tokens, tile);
  }

  template <typename T, typename In>
  void queries(const In& in, float factor, std::array<size_t, 3> at, float* out) const {
    const auto [batch, head, first] = at;
    const size_t count = std::min(kQueries, in.q.tokens - first);
    const size_t kv_head = head / (in.q.heads / in.k.heads);
    const size_t width = in.v.width;
    const size_t stride = in.q.heads * width;
    float* result = out + (batch * in.q.tokens + first) * stride + head * width;
    const Scratch scores(kQueries * kKeys + kKeys);
    const ScratchOf<Bfloat16> rounded(std::is_same_v<T, Bfloat16> ? kQueries * kKeys : 0);
    std::array<SoftmaxRow, kQueries> rows;
    rows.fill({-std::numeric_limits<float>::infinity(), 0});
    for (size_t key = 0; key < in.k.tokens; key += kKeys) {
      const size_t keys = std::min(kKeys, in.k.tokens - key);
      multiply_transposed(
          {.m = count, .n = keys, .k = in.q.width, .factor = factor},
          in.q.at(batch, head, first),
          in.k.at(batch, kv_head, key),
          scores.data(),
          keys);
      for (size_t i = 0; i < count; ++i) {
        float* row = scores.data() + i * keys;
        float* space = scores.data() + kQueries * kKeys;
        const float* mask = mask_ ? mask_->at({batch, head, first + i}, key, keys, space) : nullptr;
        // Before the first product there is nothing to bring to a new largest score.
        softmax_piece(row, mask, keys, rows[i], result + i * stride, key == 0 ? 0 : width);
        if constexpr (std::is_same_v<T, Bfloat16>) {
          round_to_bfloat16(row, keys, rounded.data() + i * keys);
        }
      }
      const Product product{.m = count, .n = width, .k = keys, .accumulate = key != 0};
      const auto values = in.v.at(batch, kv_head, key);
      if constexpr (std::is_same_v<T, Bfloat16>) {
        multiply(product, {rounded.data(), keys}, values, result, stride);
      } else {
        multiply(product, {scores.data(), keys}, values, result, stride);
      }
    }
    // Where the mask excludes everything this is 0 / 0, as in MLX.
    for (size_t i = 0; i < count; ++i) scale(result + i * stride, width, 1 / rows[i].sum);
  }

  Inputs<Heads> in_;
  float factor_;
  std::optional<Mask> mask_ = {};
};

}  // namespace

mx::array attention(
    const mx::array& q,
    const mx::array& k,
    const mx::array& v,
    float scale,
    const std::optional<mx::array>& mask,
    Products products) {
  std::vector<mx::array> inputs;
  for (const mx::array& x : {q, k, v}) inputs.push_back(mx::astype(x, mx::float32));
  if (mask) {
    const mx::Shape scores = {q.shape(0), q.shape(1), q.shape(2), k.shape(2)};
    inputs.push_back(mx::broadcast_to(mx::astype(*mask, mx::float32), scores));
  }
  // The layout in which the heads of a token become one row again without a copy.
  const mx::Shape out = {q.shape(0), q.shape(2), q.shape(1), v.shape(3)};
  const auto compute = [=](const std::vector<mx::array>& arrays, std::span<float> result) {
    AttentionComputation(arrays, scale).run(products, result.data());
  };
  return mx::transpose(operation("Attention", out, std::move(inputs), compute), {0, 2, 1, 3});
}

}  // namespace mflux::nn::cpu
