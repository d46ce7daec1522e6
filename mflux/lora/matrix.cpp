// SPDX-License-Identifier: MIT
#include "mflux/lora/matrix.h"

#include <algorithm>
#include <cmath>
#include <variant>
#include <vector>

#include "mflux/lora/rows.h"

namespace mflux::lora {
namespace {

constexpr uint64_t kBlockRows = 64;        // of DoRA; part of the result's definition
constexpr uint64_t kStripBytes = 4 << 20;  // of a rotated strip of columns

// Writes a new value and accounts for the difference.
void store(float& weight, float& change, double value) {
  const auto next = static_cast<float>(value);
  change += next - weight;
  weight = next;
}

// DoRA with a magnitude per input. Column norms are summed in double: rows in order within blocks,
// then the blocks in order.
class InputDora {
 public:
  InputDora(const Dora& update, const MatrixRows& matrix)
      : update_(update),
        matrix_(matrix),
        prepared_(prepare(update, matrix.columns)),
        blocks_((matrix.weight.size() + kBlockRows - 1) / kBlockRows) {}

  void run(const Parallel& parallel) {
    squares_.resize(blocks_ * matrix_.columns);
    parallel(blocks_, [&](uint64_t block) { sum_squares(block); });
    find_factors();
    parallel(blocks_, [&](uint64_t block) { rescale(block); });
  }

 private:
  RowRange range(uint64_t block) const {
    const uint64_t first = block * kBlockRows;
    return {first, std::min(kBlockRows, matrix_.weight.size() - first), matrix_.columns};
  }

  std::vector<float> change_in(const RowRange& rows) const {
    std::vector<float> change(rows.count * rows.columns);
    RowScratch scratch;
    std::visit(
        [&](const auto& part) { change_of(part, prepared_, rows, change, scratch); },
        update_.change);
    return change;
  }

  void sum_squares(uint64_t block) {
    const RowRange rows = range(block);
    const std::vector<float> change = change_in(rows);
    const std::span<double> sums =
        std::span(squares_).subspan(block * matrix_.columns, matrix_.columns);
    for (uint64_t i = 0; i < rows.count; ++i) {
      const float* weight = matrix_.weight[rows.first + i];
      for (uint64_t j = 0; j < rows.columns; ++j) {
        const double v =
            static_cast<double>(weight[j]) + static_cast<double>(change[i * rows.columns + j]);
        sums[j] += v * v;
      }
    }
  }

  // Magnitude / norm of every column; a column of zeros stays one.
  void find_factors() {
    factors_.assign(matrix_.columns, 0.0);
    for (uint64_t block = 0; block < blocks_; ++block) {
      for (uint64_t j = 0; j < matrix_.columns; ++j) {
        factors_[j] += squares_[block * matrix_.columns + j];
      }
    }
    for (uint64_t j = 0; j < matrix_.columns; ++j) {
      const auto magnitude = static_cast<double>(prepared_.values[j]);
      factors_[j] = factors_[j] == 0 ? 0 : magnitude / std::sqrt(factors_[j]);
    }
  }

  void rescale(uint64_t block) const {
    const RowRange rows = range(block);
    const std::vector<float> change = change_in(rows);
    for (uint64_t i = 0; i < rows.count; ++i) {
      float* weight = matrix_.weight[rows.first + i];
      float* difference = matrix_.change[rows.first + i];
      for (uint64_t j = 0; j < rows.columns; ++j) {
        const auto w = static_cast<double>(weight[j]);
        const double v = w + static_cast<double>(change[i * rows.columns + j]);
        store(weight[j], difference[j], w + update_.scale * (v * factors_[j] - w));
      }
    }
  }

  const Dora& update_;
  const MatrixRows& matrix_;
  const Prepared prepared_;
  uint64_t blocks_;
  std::vector<double> squares_ = {};
  std::vector<double> factors_ = {};
};

uint64_t strip_columns(uint64_t rows) {
  return std::max<uint64_t>(1, kStripBytes / std::max<uint64_t>(1, rows * sizeof(double)));
}

// Rotates a strip of columns, all of its rows in double, and rounds once at the end.
class OutputTurn {
 public:
  OutputTurn(const OutputRotation& update, const MatrixRows& matrix, const Parallel& parallel)
      : update_(update),
        matrix_(matrix),
        rotations_(output_rotations(update, parallel)),
        rescale_(update.rescale.empty() ? std::vector<float>() : read_factor(update.rescale)) {}

  void run(const Parallel& parallel) const {
    const uint64_t width = strip_columns(matrix_.weight.size());
    parallel((matrix_.columns + width - 1) / width, [&](uint64_t strip) {
      const uint64_t begin = strip * width;
      turn(begin, std::min(width, matrix_.columns - begin));
    });
  }

 private:
  // Where row `row` of a stage's blocks lies in the matrix: BOFT pairs rows that are 2^stage *
  // size / 2 apart, so that in (groups, 2, k) the last two change places.
  uint64_t row_of(uint64_t stage, uint64_t row) const {
    if (!update_.butterfly) return row;
    const uint64_t k = (uint64_t{1} << stage) * (update_.size / 2);
    const uint64_t within = row % (2 * k);
    return row - within + (within % 2) * k + within / 2;
  }

  void turn(uint64_t begin, uint64_t width) const {
    const uint64_t rows = matrix_.weight.size();
    const uint64_t size = update_.size;
    std::vector<double> now(rows * width);
    std::vector<double> next(rows * width);
    for (uint64_t i = 0; i < rows; ++i) {
      for (uint64_t j = 0; j < width; ++j) {
        now[i * width + j] = static_cast<double>(matrix_.weight[i][begin + j]);
      }
    }
    for (uint64_t stage = 0; stage < update_.stages; ++stage) {
      std::ranges::fill(next, 0.0);
      for (uint64_t block = 0; block < update_.count; ++block) {
        const double* rotation = rotations_.data() + (stage * update_.count + block) * size * size;
        for (uint64_t p = 0; p < size; ++p) {
          double* out = next.data() + row_of(stage, block * size + p) * width;
          for (uint64_t q = 0; q < size; ++q) {
            const double* in = now.data() + row_of(stage, block * size + q) * width;
            const double factor = rotation[p * size + q];
            for (uint64_t j = 0; j < width; ++j) out[j] += factor * in[j];
          }
        }
      }
      std::swap(now, next);
    }
    for (uint64_t i = 0; i < rows; ++i) {
      const double factor = rescale_.empty() ? 1 : static_cast<double>(rescale_[i]);
      for (uint64_t j = 0; j < width; ++j) {
        store(
            matrix_.weight[i][begin + j],
            matrix_.change[i][begin + j],
            factor * now[i * width + j]);
      }
    }
  }

  const OutputRotation& update_;
  const MatrixRows& matrix_;
  const std::vector<double> rotations_;
  const std::vector<float> rescale_;
};

}  // namespace

void apply_to_matrix(const Update& update, const MatrixRows& matrix, const Parallel& parallel) {
  if (const auto* dora = std::get_if<Dora>(&update)) {
    InputDora(*dora, matrix).run(parallel);
  } else if (const auto* rotation = std::get_if<OutputRotation>(&update)) {
    OutputTurn(*rotation, matrix, parallel).run(parallel);
  }
}

uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads) {
  const Target& target = target_of(update);
  if (const auto* rotation = std::get_if<OutputRotation>(&update)) {
    const uint64_t strip = strip_columns(target.outputs) * target.outputs * sizeof(double);
    const uint64_t blocks = rotation->stages * rotation->count * rotation->size * rotation->size;
    return blocks * (sizeof(double) + sizeof(float)) + 2 * strip * threads;
  }
  const uint64_t blocks = (target.outputs + kBlockRows - 1) / kBlockRows;
  return blocks * target.inputs * sizeof(double) +
         3 * kBlockRows * target.inputs * sizeof(float) * threads;
}

}  // namespace mflux::lora
