// SPDX-License-Identifier: MIT
#include "mflux/lora/rows.h"

#include <algorithm>
#include <cmath>

#include "mflux/kernels/low_rank.h"
#include "mflux/lora/contributions.h"
#include "mflux/lora/rotation.h"

namespace mflux::lora {
namespace {

std::span<float> resized(std::vector<float>& buffer, uint64_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return std::span<float>(buffer.data(), size);
}

std::vector<float> packed(std::span<const float> values, uint64_t rank, uint64_t columns) {
  std::vector<float> result(kernels::packed_down_size(rank, columns));
  kernels::pack_down(values, rank, columns, result);
  return result;
}

std::vector<float> packed_down(const Product& product) {
  if (product.down.empty()) return {};
  return packed(read_factor(product.down), product.down.rows, product.down.columns);
}

// Rows of a product, times `scale`. up: a buffer.
void product_rows(
    const Product& product,
    std::span<const float> down,
    uint64_t first,
    uint64_t count,
    double scale,
    std::span<float> out,
    std::vector<float>& up) {
  if (product.down.empty()) {
    return read_values(product.whole, first * product.columns, scale, out);
  }
  const uint64_t rank = rank_of(product);
  const std::span<float> factor = resized(up, count * rank);
  read_up(product, first, count, scale, factor);
  kernels::low_rank_product(factor, down, count, rank, product.columns, out);
}

Prepared prepare_kind(const LowRank& update, uint64_t columns) {
  std::vector<float> plain(update.rank * columns);
  read_down(update, plain);
  return {.factors = {packed(plain, update.rank, columns)}};
}

Prepared prepare_kind(const Dense&, uint64_t) {
  return {};
}

Prepared prepare_kind(const Hadamard& update, uint64_t) {
  return {.factors = {packed_down(update.first), packed_down(update.second)}};
}

Prepared prepare_kind(const Kronecker& update, uint64_t) {
  return {.factors = {packed_down(update.first), packed_down(update.second)}};
}

Prepared prepare_kind(const Dora& update, uint64_t columns) {
  Prepared prepared =
      std::visit([&](const auto& change) { return prepare_kind(change, columns); }, update.change);
  prepared.values = read_factor(update.magnitude);
  return prepared;
}

Prepared prepare_kind(const OutputRotation&, uint64_t) {
  return {};
}

Prepared prepare_kind(const InputRotation& update, uint64_t) {
  return {.rotations = input_rotations(update)};
}

Prepared prepare_kind(const Glora& update, uint64_t columns) {
  return {
      .factors = {
          packed(read_factor(update.a1), columns, update.rank),
          packed(read_factor(update.a2), update.rank, columns),
          packed(read_factor(update.b2), update.rank, columns)}};
}

Prepared prepare_kind(const Ia3& update, uint64_t) {
  return {.values = read_factor(update.value)};
}

Prepared prepare_kind(const Replacement&, uint64_t) {
  return {};
}

// One element after the other: `value(row, column, weight)` is the new one, in double.
template <typename Value>
void replace_each(
    RowRange range, std::span<float> rows, std::span<float> change, const Value& value) {
  for (uint64_t i = 0; i < range.count; ++i) {
    for (uint64_t j = 0; j < range.columns; ++j) {
      float& weight = rows[i * range.columns + j];
      const auto next = static_cast<float>(value(range.first + i, j, weight));
      change[i * range.columns + j] = next - weight;
      weight = next;
    }
  }
}

// A row of V = W + change, as long as its magnitude says; a row of zeros stays one.
void apply_dora_row(
    const Dora& update, double magnitude, std::span<float> row, std::span<float> change) {
  double square = 0;
  for (size_t j = 0; j < row.size(); ++j) {
    const double v = static_cast<double>(row[j]) + static_cast<double>(change[j]);
    square += v * v;
  }
  const double factor = square == 0 ? 0 : magnitude / std::sqrt(square);
  for (size_t j = 0; j < row.size(); ++j) {
    const auto weight = static_cast<double>(row[j]);
    const double v = weight + static_cast<double>(change[j]);
    const auto next = static_cast<float>(weight + update.scale * (v * factor - weight));
    change[j] = next - row[j];
    row[j] = next;
  }
}

struct Application {
  const Prepared& prepared;
  RowRange range;
  std::span<float> rows;
  std::span<float> change;
  RowScratch& scratch;

  template <typename Additive>
    requires requires(const Additive& update, RowRange r, std::span<float> c, RowScratch& s) {
      change_of(update, Prepared{}, r, c, s);
    }
  void operator()(const Additive& update) const {
    change_of(update, prepared, range, change, scratch);
    kernels::add(change, rows);
  }

  void operator()(const Dense& update) const {
    read_dense(update, range.first, range.count, change);
    kernels::add(change, rows);
  }

  void operator()(const Dora& update) const {
    std::visit(
        [&](const auto& part) { change_of(part, prepared, range, change, scratch); },
        update.change);
    for (uint64_t i = 0; i < range.count; ++i) {
      apply_dora_row(
          update,
          static_cast<double>(prepared.values[range.first + i]),
          rows.subspan(i * range.columns, range.columns),
          change.subspan(i * range.columns, range.columns));
    }
  }

  void operator()(const OutputRotation&) const {}  // needs the whole matrix

  void operator()(const InputRotation& update) const {
    const uint64_t size = update.size;
    const bool is_shared = update.triangles.rows == 1;
    std::vector<double> sums(size);
    for (uint64_t i = 0; i < range.count; ++i) {
      for (uint64_t block = 0; block < update.count; ++block) {
        const std::span<float> part = rows.subspan(i * range.columns + block * size, size);
        const double* rotation = prepared.rotations.data() + (is_shared ? 0 : block) * size * size;
        std::ranges::fill(sums, 0.0);
        for (uint64_t q = 0; q < size; ++q) {
          const auto weight = static_cast<double>(part[q]);
          for (uint64_t p = 0; p < size; ++p) sums[p] += weight * rotation[q * size + p];
        }
        for (uint64_t p = 0; p < size; ++p) {
          const auto next = static_cast<float>(sums[p]);
          change[i * range.columns + block * size + p] = next - part[p];
          part[p] = next;
        }
      }
    }
  }

  void operator()(const Glora& update) const {
    const uint64_t rank = update.rank;
    const std::span<float> inner = resized(scratch.left, range.count * rank);
    const auto& factors = prepared.factors;
    kernels::low_rank_product(rows, factors[0], range.count, range.columns, rank, inner);
    for (float& value : inner)
      value = static_cast<float>(static_cast<double>(value) * update.scale);
    kernels::low_rank_product(inner, factors[1], range.count, rank, range.columns, change);
    const std::span<float> up = resized(scratch.up, range.count * rank);
    read_values(update.b1, range.first * rank, update.scale, up);
    const std::span<float> plain = resized(scratch.right, change.size());
    kernels::low_rank_product(up, factors[2], range.count, rank, range.columns, plain);
    kernels::add(plain, change);
    kernels::add(change, rows);
  }

  void operator()(const Ia3& update) const {
    replace_each(range, rows, change, [&](uint64_t row, uint64_t column, float weight) {
      const auto value = static_cast<double>(prepared.values[update.per_input ? column : row]);
      return static_cast<double>(weight) * (1 + update.scale * value);
    });
  }

  void operator()(const Replacement& update) const {
    const std::span<float> values = resized(scratch.left, change.size());
    read_values(update.value, range.first * range.columns, 1, values);
    for (size_t i = 0; i < values.size(); ++i) {
      change[i] = values[i] - rows[i];
      rows[i] = values[i];
    }
  }
};

}  // namespace

Prepared prepare(const Update& update, uint64_t columns) {
  return std::visit([&](const auto& kind) { return prepare_kind(kind, columns); }, update);
}

void change_of(
    const LowRank& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch) {
  const std::span<float> up = resized(scratch.up, range.count * update.rank);
  read_up(update, range.first, range.count, up);
  kernels::low_rank_product(
      up, prepared.factors.front(), range.count, update.rank, range.columns, change);
}

void change_of(
    const Hadamard& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch) {
  const std::span<float> second = resized(scratch.right, change.size());
  product_rows(
      update.first,
      prepared.factors[0],
      range.first,
      range.count,
      update.scale,
      change,
      scratch.up);
  product_rows(update.second, prepared.factors[1], range.first, range.count, 1, second, scratch.up);
  for (size_t i = 0; i < change.size(); ++i) change[i] *= second[i];
}

void change_of(
    const Kronecker& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch) {
  const Product& first = update.first;
  const Product& second = update.second;
  const std::span<float> left = resized(scratch.left, first.columns);
  for (uint64_t done = 0; done < range.count;) {
    // Rows that share a row of the first factor.
    const uint64_t row = range.first + done;
    const uint64_t begin = row % second.rows;
    const uint64_t count = std::min(range.count - done, second.rows - begin);
    product_rows(first, prepared.factors[0], row / second.rows, 1, 1, left, scratch.up);
    const std::span<float> right = resized(scratch.right, count * second.columns);
    product_rows(second, prepared.factors[1], begin, count, 1, right, scratch.up);
    for (uint64_t i = 0; i < count; ++i) {
      for (uint64_t a = 0; a < first.columns; ++a) {
        const double factor = update.scale * static_cast<double>(left[a]);
        const std::span<float> out =
            change.subspan((done + i) * range.columns + a * second.columns, second.columns);
        for (uint64_t b = 0; b < second.columns; ++b) {
          out[b] = static_cast<float>(factor * static_cast<double>(right[i * second.columns + b]));
        }
      }
    }
    done += count;
  }
}

void apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch) {
  std::visit(Application{prepared, range, rows, change, scratch}, update);
}

}  // namespace mflux::lora
