// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/update.h"

#include "mflux/kernels/low_rank.h"

namespace mflux::lora {

Prepared Change::prepare(const Update&, uint64_t) const {
  return {};
}

void Change::apply_to_rows(
    const Update&, const Prepared&, RowRange, std::span<float>, std::span<float>, RowScratch&)
    const {}

void Change::apply_to_matrix(const Update&, const MatrixRows&, const Parallel&) const {}

uint64_t Change::matrix_scratch_bytes(const Update&, uint64_t) const {
  return 0;
}

void FactoredChange::apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch) const {
  change_of(update, prepared, range, change, scratch);
  kernels::add(change, rows);
}

std::string_view algorithm_of(const Update& update) {
  return update.change->name();
}

bool has_effect(const Update& update) {
  return update.change->has_effect(update);
}

bool depends_on_order(const Update& update) {
  return update.change->depends_on_order();
}

bool needs_whole_matrix(const Update& update) {
  return update.change->needs_whole_matrix();
}

bool is_factored(const Update& update) {
  return dynamic_cast<const FactoredChange*>(update.change.get()) != nullptr;
}

Prepared prepare(const Update& update, uint64_t columns) {
  return update.change->prepare(update, columns);
}

void apply_to_rows(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> rows,
    std::span<float> change,
    RowScratch& scratch) {
  update.change->apply_to_rows(update, prepared, range, rows, change, scratch);
}

void apply_to_matrix(const Update& update, const MatrixRows& matrix, const Parallel& parallel) {
  update.change->apply_to_matrix(update, matrix, parallel);
}

uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads) {
  return update.change->matrix_scratch_bytes(update, threads);
}

}  // namespace mflux::lora
