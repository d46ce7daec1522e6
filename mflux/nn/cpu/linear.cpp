// SPDX-License-Identifier: MIT
// x W^T in tiles of outputs, in parallel: a tile's rows of W become float32 or bfloat16 in a buffer
// of the thread that works on it (or are used where they lie, if that is what they are stored in),
// and are multiplied with all rows of x, 512 at a time. So a packed matrix is never unpacked as a
// whole. Low-rank paths: x down^T is computed once for all tiles, each tile adds its rows of up.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <mlx/ops.h>
#include <tbb/parallel_for.h>

#include "mflux/kernels/convert.h"
#include "mflux/kernels/quantize.h"
#include "mflux/nn/cpu/bfloat16.h"
#include "mflux/nn/cpu/gemm.h"
#include "mflux/nn/cpu/operation.h"
#include "mflux/nn/cpu/ops.h"
#include "mflux/nn/cpu/rows.h"
#include "mflux/nn/cpu/scratch.h"

namespace mflux::nn::cpu {
namespace {

// The work is divided the same way for any number of threads. A tile of outputs is unpacked once
// for all rows of x. BLAS copies both its sides before it multiplies: the larger they are, the less
// that counts.
constexpr size_t kTileOutputs = 512;
constexpr size_t kTileValues = 3072 * 1024;
constexpr size_t kTileRows = 512;
// Up to here reading the weights is most of the work, and tiles are smaller to stay in the
// innermost cache.
constexpr size_t kFewRows = 4;
constexpr size_t kFewTileValues = 16384;
// Packed weights become float32 on their way to bfloat16, so many rows at a time.
constexpr size_t kRoundedRows = 8;

size_t tile_outputs(size_t rows, size_t inputs) {
  const size_t values = rows <= kFewRows ? kFewTileValues : kTileValues;
  return std::clamp<size_t>(values / inputs, 1, kTileOutputs);
}

// What the computation knows of the layer besides its arrays.
struct Shape {
  size_t inputs;
  size_t outputs;
  std::optional<QuantFormat> format;
  bool has_bias;
  size_t loras;
  Products products;
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

// Rows [begin, begin + count) of a weight as float32 or bfloat16.
class Weight {
 public:
  Weight(const Shape& shape, Arrays& arrays) : Weight(shape, arrays.next()) {
    if (!format_) return;
    const mx::array& scales = arrays.next();
    dtype_ = dtype_of(scales);
    scales_.emplace(scales);
    if (format_->has_biases()) biases_.emplace(arrays.next());
  }

  // What is stored as it is multiplied needs no copy.
  template <typename T>
  const T* direct(size_t begin) const {
    constexpr Dtype kDtype = std::is_same_v<T, float> ? Dtype::f32 : Dtype::bf16;
    if (format_ || dtype_ != kDtype) return nullptr;
    return reinterpret_cast<const T*>(weight_.bytes().data()) + begin * columns_;
  }
  void read(size_t begin, size_t count, Bfloat16* out) const {
    const Scratch values(kRoundedRows * columns_);
    for (size_t row = 0; row < count; row += kRoundedRows) {
      const size_t rows = std::min(kRoundedRows, count - row);
      read(begin + row, rows, values.data());
      round_to_bfloat16(values.data(), rows * columns_, out + row * columns_);
    }
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

class LinearComputation {
 public:
  LinearComputation(const Shape& shape, Arrays arrays)
      : x_(arrays.next()), inputs_(shape.inputs), outputs_(shape.outputs), weight_(shape, arrays) {
    if (shape.has_bias) bias_.emplace(arrays.next());
    if (shape.products == Products::bfloat16 && x_.count() > kFewRows) round_x();
    if (!rounded_ || shape.loras > 0) gather_x();
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
      if (rounded_) {
        columns<Bfloat16>(begin, count, out);
      } else {
        columns<float>(begin, count, out);
      }
    });
  }

 private:
  void round_x() {
    Bfloat16* out = rounded_.emplace(x_.count() * inputs_).data();
    each_tile(x_.count(), kTileRows, [&](size_t row, size_t rows) {
      for (size_t i = row; i < row + rows; ++i)
        round_to_bfloat16(x_[i], inputs_, out + i * inputs_);
    });
  }
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

  Bfloat16Matrix rounded_rows(size_t row) const {
    return {rounded_->data() + row * inputs_, inputs_};
  }

  // Columns [begin, begin + count) of the result, of products of T.
  template <typename T>
  void columns(size_t begin, size_t count, float* out) const {
    const T* w = weight_.direct<T>(begin);
    const ScratchOf<T> unpacked(w == nullptr ? count * inputs_ : 0);
    if (w == nullptr) {
      weight_.read(begin, count, unpacked.data());
      w = unpacked.data();
    }
    each_tile(x_.count(), kTileRows, [&](size_t row, size_t rows) {
      tile_of<T>(row, rows, begin, count, {w, inputs_}, out);
    });
  }

  // Of these the rows [row, row + rows).
  template <typename T>
  void tile_of(
      size_t row, size_t rows, size_t begin, size_t count, MatrixOf<T> w, float* out) const {
    float* tile = out + row * outputs_ + begin;
    for (size_t i = 0; i < rows; ++i) {
      if (bias_) {
        std::copy_n(bias_->floats() + begin, count, tile + i * outputs_);
      } else {
        std::fill_n(tile + i * outputs_, count, 0.0F);
      }
    }
    const Product product{.m = rows, .n = count, .k = inputs_, .accumulate = true};
    if constexpr (std::is_same_v<T, Bfloat16>) {
      multiply_transposed(product, rounded_rows(row), w, tile, outputs_);
    } else if (rows <= kFewRows) {
      multiply_few(product, x_rows(row), w, tile, outputs_);
    } else {
      multiply_transposed(product, x_rows(row), w, tile, outputs_);
    }
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
  std::optional<ScratchOf<Bfloat16>> rounded_ = {};  // x in bfloat16, if that is multiplied
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
      .loras = layer.loras.size(),
      .products = layer.products};
  for (const LowRankPath& lora : layer.loras) {
    inputs.push_back(mx::astype(lora.down, mx::float32));
    inputs.push_back(mx::astype(lora.up, mx::float32));
  }
  mx::Shape out = x.shape();
  out.back() = layer.outputs();
  return operation(
      "Linear", out, std::move(inputs), [shape](const std::vector<mx::array>& arrays, auto result) {
        LinearComputation(shape, Arrays(arrays)).run(result.data());
      });
}

}  // namespace mflux::nn::cpu
