// SPDX-License-Identifier: MIT
// For each width a plan is made as a save would; of every tensor that a LoRA changes some rows, in
// runs spread evenly, go through the tiles of a save, and what they keep is scaled up to all rows.
// Tensors that are merged as a whole are merged once for all widths.
#include "mflux/doctor/sampled_kept.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include "mflux/bake/plan.h"
#include "mflux/bake/tile.h"
#include "mflux/bake/whole_matrix.h"
#include "mflux/base/tensor.h"

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

// The sums of the sampled rows, scaled up to all. `whole`: the tensor, if it is merged as a whole.
BakeSums measure(const Checkpoint& model, const Changed& changed, const WholeTensor* whole) {
  const PlannedTensor& tensor = *changed.tensor;
  const models::Piece& piece = tensor.mapped.pieces[changed.piece];
  std::vector<TileUse> uses = {{.tensor = &tensor, .piece = changed.piece, .whole = whole}};
  Tile tile;
  tile.component = &model.components[tensor.component];
  tile.source = &tile.component->tensors[piece.source];
  tile.columns = tile.source->spec.row_elements();
  tile.uses = &uses;
  if (whole == nullptr) {
    uses.front().factors = read_factors(*tensor.deltas[changed.piece], tile.columns);
  }
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

// A plan for some bits, and what was measured for it so far.
struct Trial {
  int bits = 16;
  Plan plan = {};
  std::vector<Changed> changed = {};
  std::vector<BakeSums> sums = {};  // parallel to `changed`

  std::string name(size_t i) const {
    const PlannedTensor& tensor = *changed[i].tensor;
    return full_name(
        plan.components[tensor.component].name, tensor.mapped.pieces[changed[i].piece].canonical);
  }
};

// Measures what is in `tensors`; null: what is merged row by row.
void measure(
    const Checkpoint& model,
    const std::set<std::string>& whole,
    const WholeTensors* tensors,
    Trial& trial) {
  tbb::parallel_for(size_t{0}, trial.changed.size(), [&](size_t i) {
    const std::string name = trial.name(i);
    if (tensors == nullptr) {
      if (!whole.contains(name)) trial.sums[i] = measure(model, trial.changed[i], nullptr);
    } else if (const auto found = tensors->find(name); found != tensors->end()) {
      trial.sums[i] = measure(model, trial.changed[i], &found->second);
    }
  });
}

ExpectedKept summarize(const Trial& trial) {
  struct Measured {
    const PlannedTensor* tensor = nullptr;
    BakeSums sums = {};
  };
  std::map<std::string, Measured> by_tensor;
  BakeSums all;
  for (size_t i = 0; i < trial.changed.size(); ++i) {
    Measured& measured = by_tensor[trial.name(i)];
    measured.tensor = trial.changed[i].tensor;
    measured.sums.add(trial.sums[i]);
    all.add(trial.sums[i]);
  }
  ExpectedKept result{
      .bits = trial.bits, .kept = all.loras[0].kept(), .relative_error = all.relative_error()};
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
  std::vector<Trial> trials(kBits.size());
  for (size_t i = 0; i < trials.size(); ++i) {
    trials[i].bits = kBits.at(i);
    trials[i].plan = make_plan(model, loras, options_for(kBits.at(i)));
    trials[i].changed = changed_pieces(trials[i].plan);
    trials[i].sums.resize(trials[i].changed.size());
    if (trials[i].changed.empty()) return {};
  }
  // Whatever the bits, the same tensors are merged as a whole: once for all trials.
  const std::vector<WholeGroup>& groups = trials.front().plan.whole_groups;
  std::set<std::string> whole;
  for (const WholeGroup& group : groups) whole.insert(group.tensors.begin(), group.tensors.end());
  for (Trial& trial : trials) measure(model, whole, nullptr, trial);
  for (const WholeGroup& group : groups) {
    const WholeTensors tensors = merge_whole(model, trials.front().plan, group);
    for (Trial& trial : trials) measure(model, whole, &tensors, trial);
  }
  std::vector<ExpectedKept> result;
  for (const Trial& trial : trials) result.push_back(summarize(trial));
  return result;
}

}  // namespace mflux
