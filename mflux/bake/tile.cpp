// SPDX-License-Identifier: MIT
// A tile is worked on twice over: in blocks of about 32k weights, which with their deltas fit into
// the L2 cache of a core, rows become float32 and the LoRAs are added; in strips of about 4k, which
// fit into L1, the sum is checked for NaN and infinities and stored (packed, or rounded to the
// output's dtype). A baked strip is then read back and compared with the exact sum: the receipt's
// numbers are measured, not estimated.
// Rows that are stored as they were read are not touched: the output is a view of the bytes that
// were read. Of uses with the same sum only the first one computes it; those that store the same
// bytes as well get a view of them.
#include "mflux/bake/tile.h"

#include <algorithm>
#include <optional>

#include "mflux/base/buffers.h"
#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/rows.h"
#include "mflux/kernels/convert.h"
#include "mflux/kernels/delta_rounding.h"
#include "mflux/kernels/low_rank.h"
#include "mflux/kernels/quantize.h"

namespace mflux {
namespace {

// Weights worked on at a time: with their deltas and errors they should stay in a core's L2 cache.
constexpr uint64_t kBlockElements = 32 * 1024;
// And these in its L1 cache.
constexpr uint64_t kStripElements = 4 * 1024;

// As many rows as fit, in the numbers that the product takes at a time: eights, else four.
uint64_t block_rows(uint64_t columns) {
  const uint64_t rows = kBlockElements / std::max<uint64_t>(1, columns);
  return rows < 8 ? 4 : rows / 8 * 8;
}

// Buffers of one thread, kept between tiles.
struct Scratch {
  std::vector<float> raw, exact, stored, error, delta_sum;
  RowMerger merger;
  kernels::DeltaRounding rounding;
};

// The rows of a use that lie in this tile, in the coordinates of source, canonical tensor and
// output.
struct UseRows {
  uint64_t tile_begin = 0;  // row within the tile
  uint64_t canonical_begin = 0;
  uint64_t output_begin = 0;
  uint64_t count = 0;
};

UseRows rows_in_tile(const Tile& tile, const models::Piece& piece) {
  const uint64_t begin = std::max(tile.first_row, piece.source_begin);
  const uint64_t end = std::min(tile.first_row + tile.rows, piece.source_begin + piece.count);
  if (begin >= end) return {};
  const uint64_t shift = begin - piece.source_begin;
  return {
      .tile_begin = begin - tile.first_row,
      .canonical_begin = piece.canonical_begin + shift,
      .output_begin = piece.output_begin + shift,
      .count = end - begin};
}

class UseComputation {
 public:
  UseComputation(Tile& tile, const TileUse& use, Scratch& scratch)
      : tile_(tile),
        tensor_(*use.tensor),
        piece_(use.tensor->mapped.pieces[use.piece]),
        deltas_(use.tensor->deltas[use.piece]),
        factors_(use.factors),
        use_output_(use.output),
        whole_(use.whole),
        scratch_(scratch),
        rows_(rows_in_tile(tile, piece_)),
        columns_(tile.columns) {}

  bool empty() const { return rows_.count == 0; }
  const BakeSums& sums() const { return sums_; }

  // Announces the output rows; those that are copied are done with that.
  void begin() {
    if (tensor_.copied) return copy();
    weight_ = add_buffer(tensor_.weight);
    if (tensor_.scales) scales_ = add_buffer(*tensor_.scales);
    if (tensor_.biases) biases_ = add_buffer(*tensor_.biases);
  }

  // The rows that `other` has computed: the same bytes, at a place of their own.
  void begin_as(const UseComputation& other) {
    const auto part = [&](const PlannedPart& planned, std::span<const std::byte> bytes) {
      add_output(planned).data = bytes;
    };
    const auto [weight, scales, biases] = other.result();
    part(tensor_.weight, weight);
    if (tensor_.scales) part(*tensor_.scales, scales);
    if (tensor_.biases) part(*tensor_.biases, biases);
    sums_ = other.sums_;
  }

  // Block `index` of its rows; nothing if there are fewer. `sum_is_there`: the buffers still hold
  // the same block of a use with the same sum.
  void compute(uint64_t index, bool sum_is_there) {
    const uint64_t block = block_rows(columns_);
    const uint64_t begin = index * block;
    if (!tensor_.copied && begin < rows_.count)
      compute_block(begin, std::min(block, rows_.count - begin), sum_is_there);
  }

 private:
  std::string tensor_name() const { return full_name(tile_.component->name, tensor_.mapped.name); }

  TileOutput& add_output(const PlannedPart& part) {
    if (tile_.outputs.size() == tile_.output_count) tile_.outputs.emplace_back();
    TileOutput& output = tile_.outputs[tile_.output_count++];
    output.output = use_output_;
    output.part = &part;
    output.offset = part.offset + rows_.output_begin * part.row_bytes;
    return output;
  }

  std::span<std::byte> add_buffer(const PlannedPart& part) {
    TileOutput& output = add_output(part);
    const std::span<std::byte> bytes = resized(output.buffer, rows_.count * part.row_bytes);
    output.data = bytes;
    return bytes;
  }

  StoredRows result() const {
    if (tensor_.copied) {
      return StoredRows{tile_.weight, tile_.scales, tile_.biases}.rows(
          rows_.tile_begin, rows_.count, tile_.rows);
    }
    return {weight_, scales_, biases_};
  }

  void copy() {
    const auto [weight, scales, biases] = result();
    add_output(tensor_.weight).data = weight;
    if (tensor_.scales) add_output(*tensor_.scales).data = scales;
    if (tensor_.biases) add_output(*tensor_.biases).data = biases;
  }

  void compute_block(uint64_t begin, uint64_t rows, bool sum_is_there) {
    const std::span<float> exact = resized(scratch_.exact, rows * columns_);
    if (!sum_is_there && whole_ != nullptr) {
      scratch_.merger.take(*whole_, rows_.canonical_begin + begin, exact);
    } else if (!sum_is_there) {
      load_block(begin, rows, exact);
      if (deltas_ != nullptr)
        scratch_.merger.merge(*deltas_, factors_, rows_.canonical_begin + begin, rows, exact);
    }
    const uint64_t strip = std::max<uint64_t>(1, kStripElements / std::max<uint64_t>(1, columns_));
    for (uint64_t row = 0; row < rows; row += strip) {
      const uint64_t count = std::min(strip, rows - row);
      finish_strip(begin, row, exact.subspan(row * columns_, count * columns_));
    }
  }

  // Some rows of the block, few enough for the L1 cache, from `row` of the block on.
  void finish_strip(uint64_t begin, uint64_t row, std::span<const float> exact) {
    const uint64_t rows = columns_ == 0 ? 0 : exact.size() / columns_;
    if ((tensor_.baked() || tensor_.format) && !kernels::all_finite(exact)) refuse_non_finite();
    if (tensor_.keeps_delta) {
      store_keeping_delta(begin, row, rows, exact);
    } else {
      store_rows(begin + row, rows, exact);
    }
    if (deltas_ != nullptr) measure_rows(begin, row, rows, exact);
  }

  // Source rows as float32, in the output's order of elements.
  void load_block(uint64_t begin, uint64_t rows, std::span<float> out) {
    const LogicalTensor& source = *tile_.source;
    const uint64_t first = rows_.tile_begin + begin;
    const bool transposed = !tensor_.mapped.transpose.none();
    const std::span<float> raw = transposed ? resized(scratch_.raw, rows * columns_) : out;
    const StoredRows stored{tile_.weight, tile_.scales, tile_.biases};
    decode_rows(source, stored.rows(first, rows, tile_.rows), raw);
    if (!transposed) return;
    const models::RowTranspose& transpose = tensor_.mapped.transpose;
    for (uint64_t row = 0; row < rows; ++row) {
      kernels::transpose(
          raw.subspan(row * columns_, columns_),
          transpose.channels,
          transpose.positions,
          out.subspan(row * columns_, columns_));
    }
  }

  kernels::PackedRows packed_rows(uint64_t begin, uint64_t rows) const {
    const auto part = [&](std::span<std::byte> bytes, uint64_t row_bytes) {
      return bytes.subspan(begin * row_bytes, rows * row_bytes);
    };
    return {
        part(weight_, tensor_.weight.row_bytes),
        part(scales_, tensor_.scales->row_bytes),
        tensor_.biases ? part(biases_, tensor_.biases->row_bytes) : std::span<std::byte>()};
  }

  std::span<std::byte> plain_rows(uint64_t begin, uint64_t rows) const {
    return weight_.subspan(begin * tensor_.weight.row_bytes, rows * tensor_.weight.row_bytes);
  }

  void store_rows(uint64_t begin, uint64_t rows, std::span<const float> exact) {
    if (tensor_.format) {
      const auto rounding =
          tensor_.baked() ? kernels::Rounding::stored_scales : kernels::Rounding::exact_scales;
      kernels::quantize(
          *tensor_.format, exact, tensor_.mapped.dtype, rounding, packed_rows(begin, rows));
    } else {
      kernels::from_float32(exact, tensor_.mapped.dtype, plain_rows(begin, rows));
    }
  }

  void store_keeping_delta(
      uint64_t begin, uint64_t row, uint64_t rows, std::span<const float> exact) {
    const LogicalTensor& source = *tile_.source;
    kernels::ConstPackedRows base = {};
    if (source.format == tensor_.format && source.spec.dtype == tensor_.mapped.dtype) {
      const StoredRows stored = StoredRows{tile_.weight, tile_.scales, tile_.biases}.rows(
          rows_.tile_begin + begin + row, rows, tile_.rows);
      base = {stored.weight, stored.scales, stored.biases};
    }
    scratch_.rounding.quantize(
        *tensor_.format,
        exact,
        all_deltas(row * columns_, exact.size()),
        tensor_.mapped.dtype,
        base,
        packed_rows(begin + row, rows));
  }

  // What all LoRAs together added to some weights of the block.
  std::span<const float> all_deltas(uint64_t offset, uint64_t size) {
    const std::span<float> sum = resized(scratch_.delta_sum, size);
    std::fill(sum.begin(), sum.end(), 0.0F);
    if (deltas_ == nullptr) return sum;
    for (const size_t adapter : scratch_.merger.adapters())
      kernels::add(scratch_.merger.delta(adapter).subspan(offset, size), sum);
    return sum;
  }

  void measure_rows(uint64_t begin, uint64_t row, uint64_t rows, std::span<const float> exact) {
    const std::span<float> stored = resized(scratch_.stored, exact.size());
    const std::span<float> error = resized(scratch_.error, exact.size());
    if (tensor_.format) {
      const kernels::PackedRows packed = packed_rows(begin + row, rows);
      kernels::dequantize(
          *tensor_.format,
          {packed.packed, packed.scales, packed.biases},
          tensor_.mapped.dtype,
          stored);
    } else {
      kernels::to_float32(tensor_.mapped.dtype, plain_rows(begin + row, rows), stored);
      if (!kernels::all_finite(stored)) refuse_non_finite();
    }
    BakeSums sums;
    sums.error = kernels::storage_error(exact, stored, rows, columns_, error);
    for (const size_t adapter : scratch_.merger.adapters()) {
      const std::span<const float> delta =
          scratch_.merger.delta(adapter).subspan(row * columns_, exact.size());
      const kernels::Projection projection = kernels::project(error, delta, rows, columns_);
      sums.loras[adapter] = {.cross = projection.cross, .norm = projection.norm};
    }
    sums_.add(sums);
  }

  [[noreturn]] void refuse_non_finite() const {
    if (tensor_.baked()) {
      fail(
          ErrorKind::lora,
          "{}: after merging, the weight holds infinite or NaN values; check the scale of the "
          "LoRAs",
          tensor_name());
    }
    fail(
        "{}: tensor '{}' holds infinite or NaN values, which cannot be quantized (a damaged "
        "download?)",
        (tile_.component->folder.path / tile_.component->folder.files[tile_.source->file].name)
            .string(),
        tile_.source->name);
  }

  Tile& tile_;
  const PlannedTensor& tensor_;
  const models::Piece& piece_;
  const Contributions* deltas_;
  const MergeFactors& factors_;
  size_t use_output_;
  const WholeTensor* whole_;
  Scratch& scratch_;
  UseRows rows_;
  uint64_t columns_;
  std::span<std::byte> weight_ = {};  // rows_ of each output part
  std::span<std::byte> scales_ = {};
  std::span<std::byte> biases_ = {};
  BakeSums sums_ = {};
};

}  // namespace

void compute_tile(Tile& tile) {
  tile.output_count = 0;
  thread_local Scratch scratch;
  const std::vector<TileUse>& uses = *tile.uses;
  std::vector<UseComputation> computations;
  computations.reserve(uses.size());
  for (const TileUse& use : uses) {
    UseComputation& computation = computations.emplace_back(tile, use, scratch);
    if (!computation.empty() && !use.same_as) computation.begin();
  }
  // Block by block, so that the sum of a block serves all uses that have it.
  const uint64_t block = block_rows(tile.columns);
  for (uint64_t index = 0; index * block < tile.rows; ++index) {
    std::optional<size_t> there = {};
    for (size_t i = 0; i < uses.size(); ++i) {
      if (uses[i].same_as || uses[i].tensor->copied) continue;
      computations[i].compute(index, there == uses[i].sum);
      there = uses[i].sum;
    }
  }
  for (size_t i = 0; i < uses.size(); ++i) {
    if (computations[i].empty()) continue;
    if (uses[i].same_as) computations[i].begin_as(computations[*uses[i].same_as]);
    if (uses[i].tensor->baked()) tile.sums.emplace_back(uses[i].tensor, computations[i].sums());
  }
}

}  // namespace mflux
