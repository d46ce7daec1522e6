// SPDX-License-Identifier: MIT
// What a LoRA does to the rows of a layer: where, how strongly, and by which algorithm. W is the
// weight [outputs, inputs] of the target, s the update's scale.
//
// An algorithm is a kind of Change, in a file of its own in this folder; algorithm.h says how it is
// recognised and built.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/lora/factor.h"
#include "mflux/lora/target.h"

namespace mflux::lora {

class Change;

struct Update {
  // As the file spells it.
  std::string module = {};
  // Resolved. Of a vector (bias, norm) the rows are its elements, and there is one column.
  Target target = {};
  // What multiplies the change: the user's scale, times alpha / rank (rsLoRA: / sqrt(rank)) where
  // the algorithm has them.
  double scale = 1;
  // 0: none, or none that counts.
  uint64_t rank = 0;
  // Equal to the rank where the file says nothing.
  double alpha = 0;
  AlphaSource alpha_source = AlphaSource::none;
  // Never null. Copies of an update share it.
  std::shared_ptr<const Change> change = {};
};

// What of an update serves all rows of its target.
struct Prepared {
  // As kernels::pack_down() lays them out.
  std::vector<std::vector<float>> factors = {};
  // A vector.
  std::vector<float> values = {};
  // Transposed blocks, one after the other.
  std::vector<double> rotations = {};
};

// Buffers of one thread, kept between calls.
struct RowScratch {
  std::vector<float> up = {}, left = {}, right = {};
};

// Rows [first, first + count) of the update's target.
struct RowRange {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t columns = 0;
};

// Rows of a target; in memory they may lie apart. `change` takes what became of each value, added
// to what is there.
struct MatrixRows {
  std::span<float* const> weight = {};
  std::span<float* const> change = {};
  uint64_t columns = 0;
};

// Runs body(0) ... body(count - 1), in any order and on any threads.
using Parallel = std::function<void(uint64_t count, const std::function<void(uint64_t)>& body)>;

// An algorithm with its numbers, as they lie in the file. The functions below say what each call
// means; every call gets the update that the change is part of.
class Change {
 public:
  virtual ~Change() = default;

  virtual std::string_view name() const = 0;
  virtual bool has_effect(const Update& update) const { return update.scale != 0; }
  virtual bool depends_on_order() const { return true; }
  virtual bool needs_whole_matrix() const { return false; }

  // A change that needs the whole matrix has the last two, any other the first two.
  virtual Prepared prepare(const Update& update, uint64_t columns) const;
  virtual void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const;
  virtual void apply_to_matrix(
      const Update& update, const MatrixRows& matrix, const Parallel& parallel) const;
  virtual uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads) const;
};

// W += what follows from factors alone, whatever W is: LoRA, LoHa, LoKr. DoRA stretches one.
class FactoredChange : public Change {
 public:
  bool depends_on_order() const override { return false; }

  // What is added to the rows, scale included.
  virtual void change_of(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> change,
      RowScratch& scratch) const = 0;

  void apply_to_rows(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch& scratch) const override;
};

// For people: "LoRA", "LoKr + DoRA", ...
std::string_view algorithm_of(const Update& update);

// False: the scale is 0 and counts.
bool has_effect(const Update& update);

// Does the result depend on what other updates did before.
bool depends_on_order(const Update& update);

// Does a row of the result depend on other rows of the weight.
bool needs_whole_matrix(const Update& update);

// Is it the sum of products of factors that FactoredChange is.
bool is_factored(const Update& update);

// `columns`: of the target. Nothing for an update that needs the whole matrix.
Prepared prepare(const Update& update, uint64_t columns);

// rows: the weight at the update's turn, before and after. change: what became of it, after minus
// before in float32 (of a sum, what was added). Not for an update that needs the whole matrix.
void apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch);

// Only for an update that needs the whole matrix. The result does not depend on `parallel`.
void apply_to_matrix(const Update& update, const MatrixRows& matrix, const Parallel& parallel);

// Bytes that apply_to_matrix() takes besides, with so many threads.
uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads);

}  // namespace mflux::lora
