// SPDX-License-Identifier: MIT
// LoRA: W += s * B * A; and LoCon, which has a core between them. A pair may be stored in the other
// order, as MLX has it; a file is read one way or the other as a whole (load.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "mflux/lora/algorithms/update.h"
#include "mflux/lora/base_model.h"
#include "mflux/lora/module.h"

namespace mflux::lora {

struct LowRank final : FactoredChange {
  // [rank, inputs]; fewer columns than the target has mean zeros in the others.
  Factor down = {};
  // [outputs, rank]; with a core [outputs, core.rows].
  Factor up = {};
  // LoCon's lora_mid, [core.rows, rank]; empty: none.
  Factor core = {};
  // The file stores [inputs, rank] and [rank, outputs].
  bool transposed = false;

  std::string_view name() const override;
  Prepared prepare(const Update& update, uint64_t columns) const override;
  void change_of(
      const Update& update,
      const Prepared& prepared,
      RowRange range,
      std::span<float> change,
      RowScratch& scratch) const override;
};

bool is_low_rank(const Update& update);

// Of an update that is one: rows of B (times the core), times the update's scale, the product in
// double, rounded once. out: [rows, rank].
void read_up(const Update& update, uint64_t first_row, uint64_t rows, std::span<float> out);

// Of an update that is one. out: [rank, target.inputs].
void read_down(const Update& update, std::span<float> out);

// A and B, without a core.
bool is_pair(const Module& module);

// In which orders a pair's shapes fit its target.
struct Fit {
  bool as_stored = false;
  bool transposed = false;
};
Fit fit_of(const Module& module, const BaseModel& model);

// The rank of a pair if both matrices agree on one in this order; none, too, if they are not
// matrices.
std::optional<uint64_t> pair_rank(const Module& module, bool transposed);

}  // namespace mflux::lora
