// SPDX-License-Identifier: MIT
#include "mflux/expected_kept.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include "mflux/plan.h"
#include "mflux/tile.h"

namespace mflux {
namespace {

constexpr std::array kBits = {16, 8, 6, 4};
constexpr uint64_t kRunRows = 8;  // rows read at once

// Rows of a source tensor that a LoRA changes and that become rows of one planned tensor.
struct Changed {
  const PlannedTensor* tensor = nullptr;
  size_t piece = 0;
};

std::vector<Changed> changed_pieces(const Plan& plan) {
  std::vector<Changed> changed;
  for (const PlannedTensor& tensor : plan.tensors) {
    for (size_t piece = 0; piece < tensor.deltas.size(); ++piece) {
      if (tensor.deltas[piece] != nullptr) changed.push_back({&tensor, piece});
    }
  }
  return changed;
}

// First rows of the runs, ascending, without overlap.
std::vector<uint64_t> run_begins(uint64_t rows) {
  std::vector<uint64_t> begins;
  if (rows <= kSampledRows) {
    for (uint64_t begin = 0; begin < rows; begin += kRunRows) begins.push_back(begin);
    return begins;
  }
  constexpr uint64_t kRuns = kSampledRows / kRunRows;
  for (uint64_t run = 0; run < kRuns; ++run) {
    begins.push_back((rows - kRunRows) * run / (kRuns - 1));
  }
  return begins;
}

void read_rows(Tile& tile) {
  const LogicalTensor& source = *tile.source;
  const auto& files = tile.component->folder.files;
  const auto read = [&](size_t file, uint64_t offset, uint64_t row_bytes, auto& out) {
    out.resize(tile.rows * row_bytes);
    files[file].file.read(offset + tile.first_row * row_bytes, out);
  };
  read(source.file, source.offset, source.stored_row_bytes(), tile.weight);
  const auto read_part = [&](const safetensors::StoredTensor* part, auto& out) {
    if (part == nullptr) return;
    const TensorSpec& spec = part->info.spec;
    read(part->file, part->info.offset, spec.row_elements() * dtype_bytes(spec.dtype), out);
  };
  read_part(source.scales, tile.scales);
  read_part(source.biases, tile.biases);
}

// The sums of the sampled rows, scaled up to all.
BakeSums measure(const Checkpoint& model, const Changed& changed) {
  const PlannedTensor& tensor = *changed.tensor;
  const models::Piece& piece = tensor.mapped.pieces[changed.piece];
  std::vector<TileUse> uses = {{.tensor = &tensor, .piece = changed.piece}};
  Tile tile;
  tile.component = &model.components[tensor.component];
  tile.source = &tile.component->tensors[piece.source];
  tile.columns = tile.source->spec.row_elements();
  tile.uses = &uses;
  uses.front().factors = read_factors(*tensor.deltas[changed.piece], tile.columns);
  BakeSums sums;
  uint64_t sampled = 0;
  for (const uint64_t begin : run_begins(piece.count)) {
    tile.first_row = piece.source_begin + begin;
    tile.rows = std::min(kRunRows, piece.count - begin);
    tile.sums.clear();
    read_rows(tile);
    compute_tile(tile);
    for (const auto& [planned, of_tile] : tile.sums) sums.add(of_tile);
    sampled += tile.rows;
  }
  const double factor = static_cast<double>(piece.count) / static_cast<double>(sampled);
  sums.error.error_sq *= factor;
  sums.error.exact_sq *= factor;
  for (auto& [index, lora] : sums.loras) {
    lora.cross *= factor;
    lora.norm *= factor;
  }
  return sums;
}

SaveOptions options_for(int bits) {
  // A layout without packed tensors: what is packed already is measured unpacked too.
  if (bits == 16) {
    return {.on_lora_failure = OnLoraFailure::skip_layer, .layout = Layout::diffusers};
  }
  return {.bits = bits, .on_lora_failure = OnLoraFailure::skip_layer};
}

ExpectedKept measure_at(const Checkpoint& model, lora::Loaded& loras, int bits) {
  const Plan plan = make_plan(model, loras, options_for(bits));
  const std::vector<Changed> changed = changed_pieces(plan);
  std::vector<BakeSums> sums(changed.size());
  tbb::parallel_for(
      size_t{0}, changed.size(), [&](size_t i) { sums[i] = measure(model, changed[i]); });
  struct Measured {
    const PlannedTensor* tensor = nullptr;
    BakeSums sums = {};
  };
  std::map<std::string, Measured> by_tensor;
  BakeSums all;
  for (size_t i = 0; i < changed.size(); ++i) {
    const PlannedTensor& tensor = *changed[i].tensor;
    const std::string& canonical = tensor.mapped.pieces[changed[i].piece].canonical;
    Measured& measured =
        by_tensor[fmt::format("{}/{}", plan.components[tensor.component].name, canonical)];
    measured.tensor = &tensor;
    measured.sums.add(sums[i]);
    all.add(sums[i]);
  }
  ExpectedKept result{
      .bits = bits, .kept = all.loras[0].kept(), .relative_error = all.relative_error()};
  for (auto& [name, measured] : by_tensor) {
    const auto& format = measured.tensor->format;
    result.layers.push_back(
        {.tensor = name,
         .stored =
             format ? to_string(*format) : std::string(dtype_name(measured.tensor->mapped.dtype)),
         .kept = measured.sums.loras[0].kept(),
         .relative_error = measured.sums.relative_error()});
  }
  return result;
}

}  // namespace

std::vector<ExpectedKept> expected_kept(const Checkpoint& model, lora::Loaded& loras) {
  std::vector<ExpectedKept> result;
  for (const int bits : kBits) {
    ExpectedKept kept = measure_at(model, loras, bits);
    if (kept.layers.empty()) return {};
    result.push_back(std::move(kept));
  }
  return result;
}

}  // namespace mflux
