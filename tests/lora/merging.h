// SPDX-License-Identifier: MIT
// A layer's weight as a small matrix in double, and what LoRAs make of it by the library's own
// functions.
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "mflux/lora/algorithms/update.h"
#include "tests/lora/lora_files.h"

namespace mflux::lora::testing {

struct Matrix {
  uint64_t rows = 0;
  uint64_t columns = 0;
  std::vector<double> values = {};

  Matrix() = default;
  Matrix(uint64_t r, uint64_t c) : rows(r), columns(c), values(r * c) {}
  Matrix(uint64_t r, uint64_t c, const Values& v)
      : rows(r), columns(c), values(v.begin(), v.end()) {}

  double& operator()(uint64_t i, uint64_t j) { return values[i * columns + j]; }
  double operator()(uint64_t i, uint64_t j) const { return values[i * columns + j]; }
};

inline Matrix operator*(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows, b.columns);
  for (uint64_t i = 0; i < a.rows; ++i) {
    for (uint64_t k = 0; k < a.columns; ++k) {
      for (uint64_t j = 0; j < b.columns; ++j) result(i, j) += a(i, k) * b(k, j);
    }
  }
  return result;
}

// a + factor * b
inline Matrix plus(Matrix a, const Matrix& b, double factor = 1) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += factor * b.values[i];
  return a;
}

inline Matrix transposed(const Matrix& a) {
  Matrix result(a.columns, a.rows);
  for (uint64_t i = 0; i < a.rows; ++i) {
    for (uint64_t j = 0; j < a.columns; ++j) result(j, i) = a(i, j);
  }
  return result;
}

inline Matrix slice(const Matrix& a, uint64_t begin, uint64_t count) {
  Matrix result(count, a.columns);
  std::copy_n(
      a.values.begin() + static_cast<std::ptrdiff_t>(begin * a.columns),
      count * a.columns,
      result.values.begin());
  return result;
}

// The canonical tensors of the model, made up from their names, with every update applied in order.
class Merged {
 public:
  explicit Merged(const Loaded& loaded, const BaseModel& model) : model_(model) {
    for (const Adapter& adapter : loaded.adapters) {
      for (const Update& update : adapter.updates) apply(update);
    }
  }

  static Values base(const std::string& name, uint64_t size) {
    return numbers("base " + name, size);
  }

  // Rows of an alias, in its own order; before is the same from the base.
  Matrix of(const std::string& alias, bool before = false) {
    const auto target = std::ranges::find(model_.targets, alias, &Target::alias);
    REQUIRE(target != model_.targets.end());
    Matrix result(target->outputs, target->inputs);
    uint64_t at = 0;
    for (const TargetRows& rows : target->rows) {
      const Values original = base(rows.tensor, size_of(rows));
      Values& tensor = before ? (scratch_ = original) : tensor_of(rows);
      for (uint64_t i = rows.begin * target->inputs; i < (rows.begin + rows.count) * target->inputs;
           ++i) {
        result.values[at++] = static_cast<double>(tensor[i]);
      }
    }
    return result;
  }
  Matrix before(const std::string& alias) { return of(alias, true); }

  // Largest difference that rows and matrices reported beside what they did.
  double misreported() const { return misreported_; }

 private:
  uint64_t size_of(const TargetRows& rows) const {
    return element_count(model_.components.at(rows.component).at(rows.tensor)).value();
  }

  Values& tensor_of(const TargetRows& rows) {
    auto [found, is_new] = tensors_.try_emplace(rows.tensor);
    if (is_new) found->second = base(rows.tensor, size_of(rows));
    return found->second;
  }

  void apply(const Update& update) {
    const Target& target = update.target;
    const uint64_t columns = target.inputs;
    Values weight;
    for (const TargetRows& rows : target.rows) {
      const Values& tensor = tensor_of(rows);
      const auto first = tensor.begin() + static_cast<std::ptrdiff_t>(rows.begin * columns);
      weight.insert(weight.end(), first, first + static_cast<std::ptrdiff_t>(rows.count * columns));
    }
    const Values old = weight;
    Values change(weight.size());
    if (needs_whole_matrix(update)) {
      std::vector<float*> rows;
      std::vector<float*> changes;
      for (uint64_t i = 0; i < target.outputs; ++i) {
        rows.push_back(weight.data() + i * columns);
        changes.push_back(change.data() + i * columns);
      }
      apply_to_matrix(update, {rows, changes, columns}, [](uint64_t count, const auto& body) {
        for (uint64_t i = count; i > 0; --i) body(i - 1);  // any order will do
      });
    } else {
      apply_in_blocks(update, weight, change);
    }
    for (size_t i = 0; i < weight.size(); ++i) {
      misreported_ = std::max<double>(misreported_, std::abs(weight[i] - old[i] - change[i]));
    }
    uint64_t at = 0;
    for (const TargetRows& rows : target.rows) {
      std::copy_n(
          weight.begin() + static_cast<std::ptrdiff_t>(at),
          rows.count * columns,
          tensor_of(rows).begin() + static_cast<std::ptrdiff_t>(rows.begin * columns));
      at += rows.count * columns;
    }
  }

  // Blocks of five rows, so that they begin in the middle of everything.
  static void apply_in_blocks(const Update& update, Values& weight, Values& change) {
    const Target& target = update.target;
    const Prepared prepared = prepare(update, target.inputs);
    RowScratch scratch;
    for (uint64_t first = 0; first < target.outputs; first += 5) {
      const uint64_t count = std::min<uint64_t>(5, target.outputs - first);
      const auto part = [&](Values& values) {
        return std::span(values).subspan(first * target.inputs, count * target.inputs);
      };
      apply_to_rows(
          update, prepared, {first, count, target.inputs}, part(weight), part(change), scratch);
    }
  }

  const BaseModel& model_;
  std::map<std::string, Values> tensors_ = {};
  Values scratch_ = {};
  double misreported_ = 0;
};

// Equal up to the rounding of a float32 of that size.
inline void check_close(const Matrix& found, const Matrix& expected) {
  REQUIRE(found.values.size() == expected.values.size());
  double largest = 0;
  for (const double value : expected.values) largest = std::max(largest, std::abs(value));
  double error = 0;
  for (size_t i = 0; i < found.values.size(); ++i) {
    error = std::max(error, std::abs(found.values[i] - expected.values[i]));
  }
  CHECK(error <= largest * 1e-6);
}

}  // namespace mflux::lora::testing
