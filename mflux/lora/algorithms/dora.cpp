// SPDX-License-Identifier: MIT
// A magnitude per output needs a row at a time. One per input needs the length of every column of
// V, and so the whole matrix twice: once to sum squares, once to change it. Squares are summed in
// double, rows in order within blocks of kBlockRows, then the blocks in order, so that the result
// does not depend on the threads.
#include "mflux/lora/algorithms/dora.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

constexpr uint64_t kBlockRows = 64;  // part of the result's definition

struct Dora final : Change {
  std::string_view title = {};
  // Its scale is alpha / rank alone.
  Update inner = {};
  // A vector: of the inputs, or of the outputs.
  Factor magnitude = {};
  bool per_input = false;

  std::string_view name() const override { return title; }
  bool needs_whole_matrix() const override { return per_input; }

  Prepared prepare(const Update&, uint64_t columns) const override {
    Prepared prepared = lora::prepare(inner, columns);
    prepared.values = read_factor(magnitude);
    return prepared;
  }

  void inner_change(
      const Prepared& prepared,
      RowRange range,
      std::span<float> change,
      RowScratch& scratch) const {
    const auto& factored = static_cast<const FactoredChange&>(*inner.change);
    factored.change_of(inner, prepared, range, change, scratch);
  }

  void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const override;
  void apply_to_matrix(
      const Update& update, const MatrixRows& matrix, const Parallel& parallel) const override;
  uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads) const override {
    const uint64_t blocks = (update.target.outputs + kBlockRows - 1) / kBlockRows;
    return blocks * update.target.inputs * sizeof(double) +
           3 * kBlockRows * update.target.inputs * sizeof(float) * threads;
  }
};

// A row of V, as long as its magnitude says; a row of zeros stays one.
void stretch_row(double scale, double magnitude, std::span<float> row, std::span<float> change) {
  double square = 0;
  for (size_t j = 0; j < row.size(); ++j) {
    const double v = static_cast<double>(row[j]) + static_cast<double>(change[j]);
    square += v * v;
  }
  const double factor = square == 0 ? 0 : magnitude / std::sqrt(square);
  for (size_t j = 0; j < row.size(); ++j) {
    const auto weight = static_cast<double>(row[j]);
    const double v = weight + static_cast<double>(change[j]);
    const auto next = static_cast<float>(weight + scale * (v * factor - weight));
    change[j] = next - row[j];
    row[j] = next;
  }
}

void Dora::apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch) const {
  inner_change(prepared, range, change, scratch);
  for (uint64_t i = 0; i < range.count; ++i) {
    stretch_row(
        update.scale,
        static_cast<double>(prepared.values[range.first + i]),
        rows.subspan(i * range.columns, range.columns),
        change.subspan(i * range.columns, range.columns));
  }
}

RowRange block_rows(const MatrixRows& matrix, uint64_t block) {
  const uint64_t first = block * kBlockRows;
  return {first, std::min(kBlockRows, matrix.weight.size() - first), matrix.columns};
}

void add_squares(
    const MatrixRows& matrix,
    RowRange rows,
    std::span<const float> change,
    std::span<double> sums) {
  for (uint64_t i = 0; i < rows.count; ++i) {
    const float* weight = matrix.weight[rows.first + i];
    for (uint64_t j = 0; j < rows.columns; ++j) {
      const double v =
          static_cast<double>(weight[j]) + static_cast<double>(change[i * rows.columns + j]);
      sums[j] += v * v;
    }
  }
}

// Magnitude / norm of every column; a column of zeros stays one.
std::vector<double> column_factors(
    std::span<const double> squares, uint64_t blocks, std::span<const float> magnitudes) {
  const uint64_t columns = magnitudes.size();
  std::vector<double> factors(columns);
  for (uint64_t block = 0; block < blocks; ++block) {
    for (uint64_t j = 0; j < columns; ++j) factors[j] += squares[block * columns + j];
  }
  for (uint64_t j = 0; j < columns; ++j) {
    const auto magnitude = static_cast<double>(magnitudes[j]);
    factors[j] = factors[j] == 0 ? 0 : magnitude / std::sqrt(factors[j]);
  }
  return factors;
}

void stretch_columns(
    const MatrixRows& matrix,
    RowRange rows,
    std::span<const float> change,
    std::span<const double> factors,
    double scale) {
  for (uint64_t i = 0; i < rows.count; ++i) {
    float* weight = matrix.weight[rows.first + i];
    float* difference = matrix.change[rows.first + i];
    for (uint64_t j = 0; j < rows.columns; ++j) {
      const auto w = static_cast<double>(weight[j]);
      const double v = w + static_cast<double>(change[i * rows.columns + j]);
      const auto next = static_cast<float>(w + scale * (v * factors[j] - w));
      difference[j] += next - weight[j];
      weight[j] = next;
    }
  }
}

void Dora::apply_to_matrix(
    const Update& update, const MatrixRows& matrix, const Parallel& parallel) const {
  const uint64_t columns = matrix.columns;
  const uint64_t blocks = (matrix.weight.size() + kBlockRows - 1) / kBlockRows;
  const Prepared prepared = prepare(update, columns);
  const auto change_in = [&](RowRange rows) {
    std::vector<float> change(rows.count * columns);
    RowScratch scratch;
    inner_change(prepared, rows, change, scratch);
    return change;
  };
  std::vector<double> squares(blocks * columns);
  parallel(blocks, [&](uint64_t block) {
    const RowRange rows = block_rows(matrix, block);
    add_squares(
        matrix, rows, change_in(rows), std::span(squares).subspan(block * columns, columns));
  });
  const std::vector<double> factors = column_factors(squares, blocks, prepared.values);
  parallel(blocks, [&](uint64_t block) {
    const RowRange rows = block_rows(matrix, block);
    stretch_columns(matrix, rows, change_in(rows), factors, update.scale);
  });
}

// The shape tells the axis, since most layers have as many inputs as outputs: [n, 1] and [n] are
// one per output, [1, n] is one per input.
bool read_magnitude(Builder& builder, const TensorInfo& info, Dora& dora) {
  if (builder.refuse_values(info)) return false;
  const Target& target = builder.target;
  const Shape shape = without_ones(info.spec.shape, 1);
  dora.per_input = shape == Shape{1, target.inputs};
  if (!dora.per_input && shape != Shape{target.outputs}) {
    builder.refuse_shape(
        info,
        fmt::format(
            "a magnitude per output ({} or {}) or per input ({})",
            to_string(Shape{target.outputs}),
            to_string(Shape{target.outputs, 1}),
            to_string(Shape{1, target.inputs})));
    return false;
  }
  dora.magnitude = builder.factor(info, dora.per_input ? target.inputs : target.outputs, 1);
  return true;
}

}  // namespace

void add_or_stretch(
    Builder& builder,
    const Algorithm& algorithm,
    Update update,
    std::initializer_list<Parameter> parameters) {
  const TensorInfo* info = builder.module.find(Parameter::magnitude);
  if (info == nullptr) {
    update.scale = builder.file.scale * update.scale;
    return builder.add(std::move(update), parameters);
  }
  Dora dora;
  dora.title = algorithm.dora_title;
  if (!read_magnitude(builder, *info, dora)) return;
  dora.inner = std::move(update);
  Update stretched = builder.update(dora);
  stretched.rank = dora.inner.rank;
  stretched.alpha = dora.inner.alpha;
  stretched.alpha_source = dora.inner.alpha_source;
  builder.add(std::move(stretched), parameters);
  builder.built.updates.back().keys.push_back(info);
}

}  // namespace mflux::lora
