// SPDX-License-Identifier: MIT
// First every use of every source tensor is collected, in the order in which the tensors lie in the
// files; uses that come out the same are marked, so that they are computed once. Then a oneTBB
// pipeline of three stages: read() takes the next rows (about 1 MiB of the source) and hashes them,
// compute_tile() runs on all threads, finish() hands the bytes to the sinks and adds up what was
// measured. The first and the last stage run one tile at a time, in order, so that files are read
// front to back and sums do not depend on the number of threads. At most two tiles per thread and
// two more are in flight, fewer if max_memory is small.
// Tensors that need their whole matrix (whole_matrix.h) interrupt this: the pipeline runs empty
// before the first of them, they are merged, and it goes on.
#include "mflux/bake/pass.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>

#include <tbb/info.h>
#include <tbb/parallel_pipeline.h>

#include "mflux/bake/memory.h"
#include "mflux/bake/tile.h"
#include "mflux/bake/whole_matrix.h"
#include "mflux/base/error.h"
#include "mflux/base/hash.h"
#include "mflux/base/tensor.h"

namespace mflux {
namespace {

// Of the source. Sums are added tile by tile, so this is part of the result: never an option.
constexpr uint64_t kTileBytes = 1 << 20;

// What becomes of one source tensor.
struct SourceUses {
  std::pair<size_t, size_t> position = {};  // component, index into its tensors
  const Component* component = nullptr;
  const LogicalTensor* source = nullptr;
  std::vector<TileUse> uses = {};
};

bool skipped(const PassOptions& options, const PlannedTensor& tensor) {
  if (options.only && !options.only(tensor)) return true;
  return !options.skip_shard.empty() && options.skip_shard[tensor.weight.shard];
}

bool same_updates(const Contributions* a, const Contributions* b) {
  if (a == b) return true;
  if (a == nullptr || b == nullptr || a->size() != b->size()) return false;
  return std::equal(a->begin(), a->end(), b->begin(), [](const auto& x, const auto& y) {
    return x.update == y.update && x.begin == y.begin && x.count == y.count &&
           x.update_begin == y.update_begin && x.adapter == y.adapter;
  });
}

bool needs_whole(const Contributions* updates) {
  return updates != nullptr && std::ranges::any_of(*updates, [](const auto& item) {
           return lora::needs_whole_matrix(*item.update);
         });
}

// Whether two uses of a source have the same rows in float32, and whether they store the same. What
// is merged as a whole depends on other tensors too, so only one output's uses can be the same.
bool same_rows(const TileUse& a, const TileUse& b) {
  if (a.output != b.output && needs_whole(a.tensor->deltas[a.piece])) return false;
  const models::Piece& x = a.tensor->mapped.pieces[a.piece];
  const models::Piece& y = b.tensor->mapped.pieces[b.piece];
  return x.source_begin == y.source_begin && x.count == y.count &&
         x.canonical_begin == y.canonical_begin &&
         a.tensor->mapped.transpose == b.tensor->mapped.transpose &&
         same_updates(a.tensor->deltas[a.piece], b.tensor->deltas[b.piece]);
}

bool same_storage(const PlannedTensor& a, const PlannedTensor& b) {
  return a.format == b.format && a.mapped.dtype == b.mapped.dtype && a.copied == b.copied &&
         a.baked() == b.baked() && a.keeps_delta == b.keeps_delta;
}

void find_same(std::vector<TileUse>& uses) {
  for (size_t i = 0; i < uses.size(); ++i) {
    uses[i].sum = i;
    for (size_t j = 0; j < i && uses[i].sum == i; ++j) {
      if (same_rows(uses[j], uses[i])) uses[i].sum = uses[j].sum;
    }
  }
  std::stable_sort(
      uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.sum < b.sum; });
  for (size_t i = 0; i < uses.size(); ++i) {
    for (size_t j = 0; j < i && !uses[i].same_as; ++j) {
      const bool original = uses[j].sum == uses[i].sum && !uses[j].same_as;
      if (original && same_storage(*uses[j].tensor, *uses[i].tensor)) uses[i].same_as = j;
    }
  }
}

// Every source tensor that has a use, in the order it lies in the files.
std::vector<SourceUses> collect_uses(
    const Checkpoint& model, const std::vector<PassOutput>& outputs) {
  std::map<std::pair<size_t, size_t>, std::vector<TileUse>> by_source;
  for (size_t output = 0; output < outputs.size(); ++output) {
    for (const PlannedTensor& tensor : outputs[output].plan->tensors) {
      if (skipped(*outputs[output].options, tensor)) continue;
      for (size_t piece = 0; piece < tensor.mapped.pieces.size(); ++piece) {
        by_source[{tensor.component, tensor.mapped.pieces[piece].source}].push_back(
            {.tensor = &tensor, .piece = piece, .output = output});
      }
    }
  }
  std::vector<SourceUses> result;
  for (auto& [key, uses] : by_source) {
    const Component& component = model.components[key.first];
    find_same(uses);
    result.push_back({key, &component, &component.tensors[key.second], std::move(uses)});
  }
  return result;
}

// What a pass knows of one of its outputs.
struct OutputState {
  PassOutput output = {};
  std::vector<size_t> pending_shard = {};  // uses that are not yet complete
  std::vector<bool> begun_shard = {};
  std::map<size_t, std::vector<const PlannedTensor*>> computed = {};  // by shard, not yet written
};

// Tensors of an output that are merged as a whole; empty before and after.
struct HeldGroup {
  size_t output = 0;
  const WholeGroup* group = nullptr;
  WholeTensors tensors = {};
};

class Pass {
 public:
  Pass(const Checkpoint& model, const std::vector<PassOutput>& outputs)
      : model_(model), options_(*outputs.front().options), sources_(collect_uses(model, outputs)) {
    for (const Component& component : model.components) {
      if (!options_.hash_inputs) break;
      for (const auto& file : component.folder.files)
        hashes_.emplace(&file, StreamedHash(file.file));
    }
    for (const PassOutput& output : outputs) add_output(output);
    collect_whole_groups();
    for (const SourceUses& item : sources_) {
      for (const TileUse& use : item.uses) {
        ++outputs_[use.output].pending_shard[use.tensor->weight.shard];
        ++pending_tensor_[use.tensor];
      }
    }
  }

  PassResult run() {
    while (position_ < sources_.size()) {
      merge_whole_tensors();
      run_pipeline();
    }
    for (OutputState& state : outputs_) write_lonely_computed(state);
    for (const Component& component : model_.components) {
      if (!options_.hash_inputs) break;
      for (const auto& file : component.folder.files) {
        result_.input_hashes[(std::filesystem::path(component.name) / file.name).string()] =
            hashes_.at(&file).finish();
      }
    }
    return std::move(result_);
  }

 private:
  void add_output(const PassOutput& output) {
    OutputState state{.output = output};
    state.pending_shard.resize(output.plan->shards.size());
    state.begun_shard.resize(output.plan->shards.size());
    for (const PlannedTensor& tensor : output.plan->tensors) {
      if (tensor.computed() && !skipped(*output.options, tensor))
        state.computed[tensor.weight.shard].push_back(&tensor);
    }
    outputs_.push_back(std::move(state));
  }

  void check_stop() const {
    if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
      fail(ErrorKind::interrupted, "interrupted");
    }
  }

  // From a source tensor on, until one is reached that has to wait.
  void run_pipeline() {
    const auto threads = static_cast<uint64_t>(tbb::info::default_concurrency());
    const uint64_t memory = options_.max_memory - std::min(options_.max_memory, held_bytes_);
    const uint64_t tokens =
        std::clamp<uint64_t>(memory / (kTileMemory * outputs_.size()), 1, 2 * threads + 2);
    tbb::parallel_pipeline(
        tokens,
        tbb::make_filter<void, Tile*>(
            tbb::filter_mode::serial_in_order,
            [this](tbb::flow_control& flow) { return read(flow); }) &
            tbb::make_filter<Tile*, Tile*>(
                tbb::filter_mode::parallel,
                [](Tile* tile) {
                  compute_tile(*tile);
                  return tile;
                }) &
            tbb::make_filter<Tile*, void>(
                tbb::filter_mode::serial_in_order, [this](Tile* tile) { finish(*tile); }));
  }

  void collect_whole_groups() {
    std::vector<WholeGroup> all;
    for (size_t output = 0; output < outputs_.size(); ++output) {
      for (const WholeGroup& group : outputs_[output].output.plan->whole_groups) {
        groups_.push_back({.output = output, .group = &group});
        all.push_back(group);
      }
    }
    std::ranges::stable_sort(
        groups_, {}, [](const HeldGroup& held) { return held.group->first_source; });
    check_whole_memory(all, options_.max_memory);
    held_bytes_ = whole_peak(all);
  }

  bool whole_group_begins() const {
    return next_group_ < groups_.size() && position_ < sources_.size() && row_ == 0 &&
           groups_[next_group_].group->first_source <= sources_[position_].position;
  }

  // Nothing is in flight: lets go of groups that are done, and merges those that begin.
  void merge_whole_tensors() {
    const std::pair<size_t, size_t> here = sources_[position_].position;
    for (HeldGroup& held : groups_) {
      if (held.group->last_source < here) held.tensors.clear();
    }
    while (whole_group_begins()) {
      HeldGroup& held = groups_[next_group_++];
      check_stop();
      // With skipped shards it may have no tensor left to write.
      if (held.group->last_source < here) continue;
      held.tensors = merge_whole(model_, *outputs_[held.output].output.plan, *held.group);
    }
  }

  const WholeTensor* find_whole(const TileUse& use) const {
    const PlannedTensor& tensor = *use.tensor;
    if (!needs_whole(tensor.deltas[use.piece])) return nullptr;
    const std::string name = full_name(
        model_.components[tensor.component].name, tensor.mapped.pieces[use.piece].canonical);
    for (const HeldGroup& held : groups_) {
      const auto found = held.tensors.find(name);
      if (held.output == use.output && found != held.tensors.end()) return &found->second;
    }
    return nullptr;
  }

  Tile* read(tbb::flow_control& flow) {
    check_stop();
    if (position_ == sources_.size() || whole_group_begins()) {
      flow.stop();
      return nullptr;
    }
    SourceUses& item = sources_[position_];
    Tile* tile = take_tile();
    describe(item, *tile);
    if (row_ == 0) begin(item, tile->columns);
    fill(*tile);
    row_ += tile->rows;
    if (row_ >= item.source->spec.rows()) {
      row_ = 0;
      ++position_;
    }
    return tile;
  }

  void describe(SourceUses& item, Tile& tile) const {
    const TensorSpec& spec = item.source->spec;
    tile.component = item.component;
    tile.source = item.source;
    tile.uses = &item.uses;
    tile.columns = spec.row_elements();
    const uint64_t row_bytes = std::max<uint64_t>(1, item.source->stored_row_bytes());
    tile.first_row = row_;
    tile.rows =
        std::min(std::max<uint64_t>(1, kTileBytes / row_bytes), item.source->spec.rows() - row_);
    tile.sums.clear();
  }

  void begin(SourceUses& item, uint64_t columns) {
    for (TileUse& use : item.uses) {
      const Contributions* updates = use.tensor->deltas[use.piece];
      use.whole = find_whole(use);
      if (updates != nullptr && use.whole == nullptr) {
        use.factors = read_factors(*updates, columns);
      }
    }
  }

  void fill(Tile& tile) {
    const auto& folder = tile.component->folder;
    const LogicalTensor& source = *tile.source;
    const auto read_rows =
        [&](size_t file, uint64_t offset, uint64_t row_bytes, std::vector<std::byte>& out) {
          out.resize(tile.rows * row_bytes);
          folder.files[file].file.read(offset + tile.first_row * row_bytes, out);
        };
    const uint64_t row_bytes = source.stored_row_bytes();
    read_rows(source.file, source.offset, row_bytes, tile.weight);
    const auto& file = folder.files[source.file];
    if (options_.hash_inputs)
      hashes_.at(&file).advance(source.offset + tile.first_row * row_bytes, tile.weight);
    tile.scales.clear();
    tile.biases.clear();
    const auto read_part = [&](const safetensors::StoredTensor* part, std::vector<std::byte>& out) {
      if (part == nullptr) return;
      const uint64_t bytes = part->info.spec.row_elements() * dtype_bytes(part->info.spec.dtype);
      read_rows(part->file, part->info.offset, bytes, out);
    };
    read_part(source.scales, tile.scales);
    read_part(source.biases, tile.biases);
  }

  Tile* take_tile() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      owned_.push_back(std::make_unique<Tile>());
      return owned_.back().get();
    }
    Tile* tile = free_.back();
    free_.pop_back();
    return tile;
  }

  // In the order of reading, so that sums come out the same with any number of threads. Writes here
  // too: two threads that write to one file wait for each other in the kernel. The callbacks are
  // called from here alone, so that none runs beside another.
  void finish(Tile& tile) {
    if (tile.first_row == 0) {
      for (const TileUse& use : *tile.uses)
        begin_shard(outputs_[use.output], use.tensor->weight.shard);
    }
    for (size_t i = 0; i < tile.output_count; ++i) {
      const TileOutput& output = tile.outputs[i];
      OutputState& state = outputs_[output.output];
      write_computed(state, output.part->shard);
      state.output.sink->write(*output.part, output.offset, output.data);
    }
    for (const auto& [tensor, sums] : tile.sums) result_.baked[tensor].add(sums);
    if (tile.first_row + tile.rows >= tile.source->spec.rows()) {
      for (TileUse& use : *tile.uses) {
        use.factors = {};
        finish_use(outputs_[use.output], *use.tensor);
      }
    }
    done_bytes_ += tile.weight.size();
    if (options_.on_progress) options_.on_progress(done_bytes_);
    const std::lock_guard lock(mutex_);
    free_.push_back(&tile);
  }

  static void begin_shard(OutputState& state, size_t shard) {
    const auto& on_shard_begin = state.output.options->on_shard_begin;
    if (state.begun_shard[shard] || !on_shard_begin) return;
    state.begun_shard[shard] = true;
    on_shard_begin(shard);
  }

  // Tensors without a source go with the first bytes of their shard.
  static void write_computed(OutputState& state, size_t shard) {
    const auto found = state.computed.find(shard);
    if (found == state.computed.end()) return;
    for (const PlannedTensor* tensor : found->second) {
      state.output.sink->write(
          tensor->weight, tensor->weight.offset, std::as_bytes(std::span(tensor->mapped.values)));
    }
    state.computed.erase(found);
  }

  static void write_lonely_computed(OutputState& state) {
    const PassOptions& options = *state.output.options;
    while (!state.computed.empty()) {
      const size_t shard = state.computed.begin()->first;
      begin_shard(state, shard);
      write_computed(state, shard);
      if (options.on_shard_done) options.on_shard_done(shard);
    }
  }

  void finish_use(OutputState& state, const PlannedTensor& tensor) {
    const PassOptions& options = *state.output.options;
    if (--pending_tensor_[&tensor] == 0 && tensor.baked() && options.on_tensor_done) {
      options.on_tensor_done(tensor, result_.baked[&tensor]);
    }
    if (--state.pending_shard[tensor.weight.shard] == 0 && options.on_shard_done) {
      options.on_shard_done(tensor.weight.shard);
    }
  }

  const Checkpoint& model_;
  const PassOptions& options_;  // of the whole pass
  std::vector<SourceUses> sources_;
  std::vector<OutputState> outputs_ = {};
  std::map<const safetensors::OpenedFile*, StreamedHash> hashes_ = {};
  std::vector<HeldGroup> groups_ = {};  // of all outputs, by their first source
  size_t next_group_ = 0;               // in groups_
  uint64_t held_bytes_ = 0;             // the most that they take at a time
  size_t position_ = 0;                 // in sources_
  uint64_t row_ = 0;                    // next row of that source
  uint64_t done_bytes_ = 0;
  std::map<const PlannedTensor*, size_t> pending_tensor_ = {};
  PassResult result_ = {};
  std::mutex mutex_ = {};
  std::vector<std::unique_ptr<Tile>> owned_ = {};
  std::vector<Tile*> free_ = {};
};

}  // namespace

uint64_t bytes_to_read(const Checkpoint& model, const std::vector<PassOutput>& outputs) {
  uint64_t bytes = 0;
  for (const SourceUses& item : collect_uses(model, outputs)) {
    bytes += item.source->spec.rows() * item.source->stored_row_bytes();
  }
  return bytes;
}

uint64_t bytes_to_read(const Checkpoint& model, const Plan& plan, const PassOptions& options) {
  return bytes_to_read(model, {{.plan = &plan, .options = &options}});
}

PassResult run_pass(const Checkpoint& model, const std::vector<PassOutput>& outputs) {
  return Pass(model, outputs).run();
}

PassResult run_pass(
    const Checkpoint& model, const Plan& plan, const PassOptions& options, Sink& sink) {
  return run_pass(model, {{.plan = &plan, .options = &options, .sink = &sink}});
}

}  // namespace mflux
