// SPDX-License-Identifier: MIT
#include "mflux/stream.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <optional>

#include <tbb/info.h>
#include <tbb/parallel_pipeline.h>

#include "mflux/base/error.h"
#include "mflux/base/hash.h"
#include "mflux/tile.h"

namespace mflux {
namespace {

constexpr uint64_t kTileBytes =
    1 << 20;  // of the source; part of the result's definition, so never an option
constexpr uint64_t kTileMemory =
    16 << 20;  // a bound on what one tile in flight needs, scratch included

// What becomes of one source tensor.
struct SourceUses {
  const Component* component = nullptr;
  const LogicalTensor* source = nullptr;
  std::vector<TileUse> uses = {};
};

bool skipped(const StreamOptions& options, const PlannedTensor& tensor) {
  if (options.only && !options.only(tensor)) return true;
  return !options.skip_shard.empty() && options.skip_shard[tensor.weight.shard];
}

// Every source tensor that has a use, in the order it lies in the files.
std::vector<SourceUses> collect_uses(
    const Checkpoint& model, const Plan& plan, const StreamOptions& options) {
  std::map<std::pair<size_t, size_t>, std::vector<TileUse>> by_source;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (skipped(options, tensor)) continue;
    for (size_t piece = 0; piece < tensor.mapped.pieces.size(); ++piece) {
      by_source[{tensor.component, tensor.mapped.pieces[piece].source}].push_back({&tensor, piece});
    }
  }
  std::vector<SourceUses> result;
  for (auto& [key, uses] : by_source) {
    const Component& component = model.components[key.first];
    result.push_back({&component, &component.tensors[key.second], std::move(uses)});
  }
  return result;
}

class Pass {
 public:
  Pass(const Checkpoint& model, const Plan& plan, const StreamOptions& options, Sink& sink)
      : model_(model), plan_(plan), options_(options), sink_(sink) {
    sources_ = collect_uses(model, plan, options);
    for (const Component& component : model.components) {
      if (!options.hash_inputs) break;
      for (const auto& file : component.folder.files)
        hashes_.emplace(&file, StreamedHash(file.file));
    }
    pending_shard_.resize(plan.shards.size());
    begun_shard_.resize(plan.shards.size());
    for (const SourceUses& item : sources_) {
      for (const TileUse& use : item.uses) {
        ++pending_shard_[use.tensor->weight.shard];
        ++pending_tensor_[use.tensor];
      }
    }
    for (const PlannedTensor& tensor : plan.tensors) {
      if (tensor.computed() && !skipped(options, tensor))
        computed_[tensor.weight.shard].push_back(&tensor);
    }
  }

  StreamResult run() {
    const auto threads = static_cast<uint64_t>(tbb::info::default_concurrency());
    const uint64_t tokens =
        std::clamp<uint64_t>(options_.max_memory / kTileMemory, 1, 2 * threads + 2);
    tbb::parallel_pipeline(
        tokens,
        tbb::make_filter<void, Tile*>(
            tbb::filter_mode::serial_in_order,
            [this](tbb::flow_control& flow) { return read(flow); }) &
            tbb::make_filter<Tile*, Tile*>(
                tbb::filter_mode::parallel,
                [this](Tile* tile) {
                  compute_tile(*tile);
                  return tile;
                }) &
            tbb::make_filter<Tile*, void>(
                tbb::filter_mode::serial_in_order, [this](Tile* tile) { finish(*tile); }));
    write_lonely_computed();
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
  void check_stop() const {
    if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
      fail(ErrorKind::interrupted, "interrupted");
    }
  }

  Tile* read(tbb::flow_control& flow) {
    check_stop();
    if (position_ == sources_.size()) {
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
      if (updates != nullptr) use.factors = read_factors(*updates, columns);
      const size_t shard = use.tensor->weight.shard;
      if (begun_shard_[shard] || !options_.on_shard_begin) continue;
      begun_shard_[shard] = true;
      options_.on_shard_begin(shard);
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
  // too: two threads that write to one file wait for each other in the kernel.
  void finish(Tile& tile) {
    for (size_t i = 0; i < tile.output_count; ++i) {
      const TileOutput& output = tile.outputs[i];
      write_computed(output.part->shard);
      sink_.write(*output.part, output.offset, output.data);
    }
    for (const auto& [tensor, sums] : tile.sums) result_.baked[tensor].add(sums);
    if (tile.first_row + tile.rows >= tile.source->spec.rows()) {
      for (TileUse& use : *tile.uses) {
        use.factors = {};
        finish_use(*use.tensor);
      }
    }
    done_bytes_ += tile.weight.size();
    if (options_.on_progress) options_.on_progress(done_bytes_);
    const std::lock_guard lock(mutex_);
    free_.push_back(&tile);
  }

  // Tensors without a source go with the first bytes of their shard.
  void write_computed(size_t shard) {
    const auto found = computed_.find(shard);
    if (found == computed_.end()) return;
    for (const PlannedTensor* tensor : found->second) {
      sink_.write(
          tensor->weight, tensor->weight.offset, std::as_bytes(std::span(tensor->mapped.values)));
    }
    computed_.erase(found);
  }

  void write_lonely_computed() {
    while (!computed_.empty()) {
      const size_t shard = computed_.begin()->first;
      if (options_.on_shard_begin) options_.on_shard_begin(shard);
      write_computed(shard);
      if (options_.on_shard_done) options_.on_shard_done(shard);
    }
  }

  void finish_use(const PlannedTensor& tensor) {
    if (--pending_tensor_[&tensor] == 0 && tensor.baked() && options_.on_tensor_done) {
      options_.on_tensor_done(tensor, result_.baked[&tensor]);
    }
    if (--pending_shard_[tensor.weight.shard] == 0 && options_.on_shard_done) {
      options_.on_shard_done(tensor.weight.shard);
    }
  }

  const Checkpoint& model_;
  const Plan& plan_;
  const StreamOptions& options_;
  Sink& sink_;
  std::vector<SourceUses> sources_ = {};
  std::map<const safetensors::OpenedFile*, StreamedHash> hashes_ = {};
  size_t position_ = 0;  // in sources_
  uint64_t row_ = 0;     // next row of that source
  uint64_t done_bytes_ = 0;
  std::vector<size_t> pending_shard_ = {};  // uses that are not yet complete
  std::vector<bool> begun_shard_ = {};
  std::map<const PlannedTensor*, size_t> pending_tensor_ = {};
  std::map<size_t, std::vector<const PlannedTensor*>> computed_ = {};  // by shard, not yet written
  StreamResult result_ = {};
  std::mutex mutex_ = {};
  std::vector<std::unique_ptr<Tile>> owned_ = {};
  std::vector<Tile*> free_ = {};
};

}  // namespace

void BakeSums::add(const BakeSums& other) {
  error.error_sq += other.error.error_sq;
  error.exact_sq += other.error.exact_sq;
  error.max_error = std::max(error.max_error, other.error.max_error);
  for (const auto& [adapter, sums] : other.loras) {
    loras[adapter].cross += sums.cross;
    loras[adapter].norm += sums.norm;
  }
}

double BakeSums::relative_error() const {
  return error.exact_sq == 0 ? 0 : std::sqrt(error.error_sq / error.exact_sq);
}

uint64_t bytes_to_read(const Checkpoint& model, const Plan& plan, const StreamOptions& options) {
  uint64_t bytes = 0;
  for (const SourceUses& item : collect_uses(model, plan, options)) {
    bytes += item.source->spec.rows() * item.source->stored_row_bytes();
  }
  return bytes;
}

StreamResult stream(
    const Checkpoint& model, const Plan& plan, const StreamOptions& options, Sink& sink) {
  return Pass(model, plan, options, sink).run();
}

}  // namespace mflux
