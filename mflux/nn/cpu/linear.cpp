// SPDX-License-Identifier: MIT
#include "mflux/nn/cpu/linear.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/kernels/convert.h"
#include "mflux/kernels/quantize.h"
#include "mflux/nn/cpu/dot.h"
#include "mflux/nn/cpu/gemm.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/rows.h"
#include "mflux/nn/cpu/scratch.h"

namespace mflux::nn::cpu {
namespace {

// The work is divided the same way for any number of threads. A tile of outputs is unpacked once
// for all rows of x. BLAS copies both its sides before it multiplies: the larger they are, the less
// that counts.
constexpr size_t kTileOutputs = 512;
constexpr size_t kTileFloats = 3072 * 1024;
constexpr size_t kTileRows = 512;
// Up to here reading the weights is most of the work, and tiles are smaller to stay in the
// innermost cache.
constexpr size_t kFewRows = 4;
constexpr size_t kFewTileFloats = 16384;

size_t tile_outputs(size_t rows, size_t inputs) {
  const size_t floats = rows <= kFewRows ? kFewTileFloats : kTileFloats;
  return std::clamp<size_t>(floats / inputs, 1, kTileOutputs);
}

// What the computation knows of the layer besides its arrays.
struct Shape {
  size_t inputs;
  size_t outputs;
  std::optional<QuantFormat> format;
  bool has_bias;
  size_t loras;
};

// The arrays of an operation, one after the other.
class Arrays {
 public:
  explicit Arrays(const std::vector<mx::array>& arrays) : arrays_(arrays) {}
  const mx::array& next() { return arrays_[next_++]; }

 private:
  const std::vector<mx::array>& arrays_;
  size_t next_ = 0;
};

// Rows [begin, begin + count) of a weight as float32.
class Weight {
 public:
  Weight(const Shape& shape, Arrays& arrays) : Weight(shape, arrays.next()) {
    if (!format_) return;
    const mx::array& scales = arrays.next();
    dtype_ = dtype_of(scales);
    scales_.emplace(scales);
    if (format_->has_biases()) biases_.emplace(arrays.next());
  }

  // Float32 weights need no copy.
  const float* direct(size_t begin) const {
    const bool is_direct = !format_ && dtype_ == Dtype::f32;
    return is_direct ? weight_.floats() + begin * columns_ : nullptr;
  }
  void read(size_t begin, size_t count, float* out) const {
    const std::span<float> values(out, count * columns_);
    if (!format_) {
      const size_t row_bytes = columns_ * dtype_bytes(dtype_);
      kernels::to_float32(
          dtype_, weight_.bytes().subspan(begin * row_bytes, count * row_bytes), values);
      return;
    }
    const size_t packed_bytes = format_->packed_columns(columns_) * 4;
    const size_t scale_bytes = format_->groups(columns_) * dtype_bytes(dtype_);
    const auto rows = [&](const Packed& part, size_t bytes) {
      return part.bytes().subspan(begin * bytes, count * bytes);
    };
    kernels::dequantize(
        *format_,
        {rows(weight_, packed_bytes),
         rows(*scales_, scale_bytes),
         biases_ ? rows(*biases_, scale_bytes) : std::span<const std::byte>()},
        dtype_,
        values);
  }

 private:
  Weight(const Shape& shape, const mx::array& weight)
      : format_(shape.format),
        columns_(shape.inputs),
        weight_(weight),
        dtype_(format_ ? Dtype::u8 : dtype_of(weight)) {}

  std::optional<QuantFormat> format_;
  size_t columns_;
  Packed weight_;
  Dtype dtype_;  // of the weight, or of the scales
  std::optional<Packed> scales_ = {};
  std::optional<Packed> biases_ = {};
};

struct LowRank {
  LowRank(const mx::array& down_array, const mx::array& up_array, size_t rows)
      : down(down_array),
        up(up_array),
        rank(static_cast<size_t>(down_array.shape(0))),
        low(rows * rank) {}

  Packed down;  // [rank, inputs]
  Packed up;    // [outputs, rank]
  size_t rank;
  Scratch low;  // [rows, rank]
};

template <typename Use>
void each_tile(size_t count, size_t tile, const Use& use) {
  tbb::parallel_for(size_t{0}, (count + tile - 1) / tile, [&](size_t i) {
    use(i * tile, std::min(tile, count - i * tile));
  });
}

class Computation {
 public:
  Computation(const Shape& shape, Arrays arrays)
      : x_(arrays.next()), inputs_(shape.inputs), outputs_(shape.outputs), weight_(shape, arrays) {
    if (shape.has_bias) bias_.emplace(arrays.next());
    gather_x();
    for (size_t i = 0; i < shape.loras; ++i) {
      const mx::array& down = arrays.next();
      loras_.push_back(std::make_unique<LowRank>(down, arrays.next(), x_.count()));
    }
  }

  void run(float* out) {
    for (const auto& lora : loras_) {
      each_tile(x_.count(), kTileRows, [&](size_t row, size_t rows) {
        multiply_transposed(
            {rows, lora->rank, inputs_},
            x_rows(row),
            {lora->down.floats(), inputs_},
            lora->low.data() + row * lora->rank,
            lora->rank);
      });
    }
    const size_t tile = tile_outputs(x_.count(), inputs_);
    each_tile(outputs_, tile, [&](size_t begin, size_t count) {
      const float* w = weight_.direct(begin);
      const Scratch unpacked(w == nullptr ? count * inputs_ : 0);
      if (w == nullptr) {
        weight_.read(begin, count, unpacked.data());
        w = unpacked.data();
      }
      each_tile(x_.count(), kTileRows, [&](size_t row, size_t rows) {
        tile_of(row, rows, begin, count, w, out);
      });
    });
  }

 private:
  // BLAS wants one distance between rows.
  void gather_x() {
    if (const auto stride = x_.stride()) {
      matrix_ = {x_[0], *stride};
      return;
    }
    float* copy = gathered_.emplace(x_.count() * inputs_).data();
    each_tile(x_.count(), kTileRows, [&](size_t row, size_t rows) {
      for (size_t i = row; i < row + rows; ++i) std::copy_n(x_[i], inputs_, copy + i * inputs_);
    });
    matrix_ = {copy, inputs_};
  }
  Matrix x_rows(size_t row) const { return {matrix_.data + row * matrix_.stride, matrix_.stride}; }

  // Rows [row, row + rows) of the result, columns [begin, begin + count): w holds their weights.
  void tile_of(
      size_t row, size_t rows, size_t begin, size_t count, const float* w, float* out) const {
    float* tile = out + row * outputs_ + begin;
    for (size_t i = 0; i < rows; ++i) {
      if (bias_) {
        std::copy_n(bias_->floats() + begin, count, tile + i * outputs_);
      } else {
        std::fill_n(tile + i * outputs_, count, 0.0F);
      }
    }
    const Product product{.m = rows, .n = count, .k = inputs_, .accumulate = true};
    const auto multiply = rows <= kFewRows ? multiply_few : multiply_transposed;
    multiply(product, x_rows(row), {w, inputs_}, tile, outputs_);
    for (const auto& lora : loras_) {
      const size_t rank = lora->rank;
      multiply_transposed(
          {.m = rows, .n = count, .k = rank, .accumulate = true},
          {lora->low.data() + row * rank, rank},
          {lora->up.floats() + begin * rank, rank},
          tile,
          outputs_);
    }
  }

  Rows x_;
  size_t inputs_;
  size_t outputs_;
  Weight weight_;
  std::optional<Packed> bias_ = {};
  std::vector<std::unique_ptr<LowRank>> loras_ = {};
  std::optional<Scratch> gathered_ = {};
  Matrix matrix_ = {};
};

}  // namespace

mx::array linear(const mx::array& x, const Linear& layer) {
  std::vector<mx::array> inputs = {mx::astype(x, mx::float32), layer.weight};
  if (layer.format) {
    inputs.push_back(*layer.scales);
    if (layer.format->has_biases()) inputs.push_back(*layer.biases);
  }
  if (layer.bias) inputs.push_back(mx::astype(*layer.bias, mx::float32));
  const Shape shape{
      .inputs = static_cast<size_t>(layer.inputs()),
      .outputs = static_cast<size_t>(layer.outputs()),
      .format = layer.format,
      .has_bias = layer.bias.has_value(),
      .loras = layer.loras.size()};
  for (const LowRankPath& lora : layer.loras) {
    inputs.push_back(mx::astype(lora.down, mx::float32));
    inputs.push_back(mx::astype(lora.up, mx::float32));
  }
  mx::Shape out = x.shape();
  out.back() = layer.outputs();
  return operation(
      "Linear", out, std::move(inputs), [shape](const std::vector<mx::array>& arrays, auto result) {
        Computation(shape, Arrays(arrays)).run(result.data());
      });
}

}  // namespace mflux::nn::cpu
