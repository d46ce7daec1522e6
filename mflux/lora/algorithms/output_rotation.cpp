// SPDX-License-Identifier: MIT
// OFT of LyCORIS and kohya, and BOFT: W = R' * W with block-diagonal rotations of the outputs.
// Q = blocks - transposed, all together shrunk to the length `limit`; R = (I + Q) (I - Q)^-1, then
// s R + (1 - s) I.
//
// The matrix is turned a strip of columns at a time, all its rows in double, stage after stage, and
// rounded once at the end. Strips are independent, so they run in parallel.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/rotation.h"

namespace mflux::lora {
namespace {

using enum Parameter;
using safetensors::TensorInfo;

constexpr uint64_t kStripBytes = 4 << 20;
constexpr double kKohyaEpsilon = 1e-8;

uint64_t strip_columns(uint64_t rows) {
  return std::max<uint64_t>(1, kStripBytes / std::max<uint64_t>(1, rows * sizeof(double)));
}

struct OutputRotation final : Change {
  // [stages][count][size, size]
  Factor blocks = {};
  // BOFT: each on another order of the rows.
  uint64_t stages = 1;
  // outputs = count * size
  uint64_t count = 0;
  uint64_t size = 0;
  // BOFT: R is not transposed, and stage i pairs rows 2^i * size / 2 apart.
  bool butterfly = false;
  // Of the Frobenius norm of all Q together; none: unlimited.
  std::optional<double> limit = {};
  // [outputs], multiplies the rows afterwards; empty: none.
  Factor rescaling = {};

  std::string_view name() const override { return butterfly ? "BOFT" : "OFT"; }
  bool has_effect(const Update& update) const override {
    return update.scale != 0 || !rescaling.empty();
  }
  bool needs_whole_matrix() const override { return true; }

  void apply_to_matrix(
      const Update& update, const MatrixRows& matrix, const Parallel& parallel) const override;
  uint64_t matrix_scratch_bytes(const Update& update, uint64_t threads) const override {
    const uint64_t rows = update.target.outputs;
    const uint64_t strip = strip_columns(rows) * rows * sizeof(double);
    return stages * count * size * size * (sizeof(double) + sizeof(float)) + 2 * strip * threads;
  }
};

std::vector<double> skew(std::span<const float> block, uint64_t size) {
  std::vector<double> q(size * size);
  for (uint64_t i = 0; i < size; ++i) {
    for (uint64_t j = 0; j < size; ++j) {
      q[i * size + j] =
          static_cast<double>(block[i * size + j]) - static_cast<double>(block[j * size + i]);
    }
  }
  return q;
}

// By how much all Q together are too long, as the trainer has it.
double shrink_factor(const OutputRotation& change, std::span<const float> blocks) {
  if (!change.limit) return 1;
  const uint64_t area = change.size * change.size;
  double square = 0;
  for (uint64_t begin = 0; begin < blocks.size(); begin += area) {
    for (const double value : skew(blocks.subspan(begin, area), change.size)) {
      square += value * value;
    }
  }
  const double norm = std::sqrt(square);
  return (std::min(norm, *change.limit) + kKohyaEpsilon) / (norm + kKohyaEpsilon);
}

// Every block as it multiplies the rows from the left, [stages][count][size][size]: strength, limit
// and transposition are in it.
std::vector<double> rotations_of(
    const OutputRotation& change, double scale, const Parallel& parallel) {
  const uint64_t size = change.size;
  const uint64_t area = size * size;
  const std::vector<float> blocks = read_factor(change.blocks);
  const double shrink = shrink_factor(change, blocks);
  std::vector<double> rotations(blocks.size());
  parallel(change.stages * change.count, [&](uint64_t block) {
    std::vector<double> q = skew(std::span(blocks).subspan(block * area, area), size);
    for (double& value : q) value *= shrink;
    const std::span<double> out = std::span(rotations).subspan(block * area, area);
    cayley(q, size, out);
    for (double& value : out) value *= scale;
    for (uint64_t i = 0; i < size; ++i) out[i * size + i] += 1 - scale;
    if (!change.butterfly) transpose(out, size);
  });
  return rotations;
}

// Where row `row` of a stage's blocks lies in the matrix: BOFT pairs rows that are 2^stage *
// size / 2 apart, so that in (groups, 2, k) the last two change places.
uint64_t row_of(const OutputRotation& change, uint64_t stage, uint64_t row) {
  if (!change.butterfly) return row;
  const uint64_t k = (uint64_t{1} << stage) * (change.size / 2);
  const uint64_t within = row % (2 * k);
  return row - within + (within % 2) * k + within / 2;
}

// Columns of the matrix, [rows, width].
struct Strip {
  uint64_t begin = 0;
  uint64_t width = 0;
  std::vector<double> values = {};
};

void turn(
    const OutputRotation& change, std::span<const double> rotations, uint64_t stage, Strip& strip) {
  const uint64_t size = change.size;
  const uint64_t width = strip.width;
  std::vector<double> next(strip.values.size());
  for (uint64_t block = 0; block < change.count; ++block) {
    const double* rotation = rotations.data() + (stage * change.count + block) * size * size;
    for (uint64_t p = 0; p < size; ++p) {
      double* out = next.data() + row_of(change, stage, block * size + p) * width;
      for (uint64_t q = 0; q < size; ++q) {
        const double* in = strip.values.data() + row_of(change, stage, block * size + q) * width;
        const double factor = rotation[p * size + q];
        for (uint64_t j = 0; j < width; ++j) out[j] += factor * in[j];
      }
    }
  }
  strip.values = std::move(next);
}

Strip read_strip(const MatrixRows& matrix, uint64_t begin, uint64_t width) {
  Strip strip{begin, width, std::vector<double>(matrix.weight.size() * width)};
  for (uint64_t i = 0; i < matrix.weight.size(); ++i) {
    for (uint64_t j = 0; j < width; ++j) {
      strip.values[i * width + j] = static_cast<double>(matrix.weight[i][begin + j]);
    }
  }
  return strip;
}

void write_strip(const Strip& strip, std::span<const float> rescaling, const MatrixRows& matrix) {
  for (uint64_t i = 0; i < matrix.weight.size(); ++i) {
    const double factor = rescaling.empty() ? 1 : static_cast<double>(rescaling[i]);
    for (uint64_t j = 0; j < strip.width; ++j) {
      float& weight_now = matrix.weight[i][strip.begin + j];
      const auto next = static_cast<float>(factor * strip.values[i * strip.width + j]);
      matrix.change[i][strip.begin + j] += next - weight_now;
      weight_now = next;
    }
  }
}

void OutputRotation::apply_to_matrix(
    const Update& update, const MatrixRows& matrix, const Parallel& parallel) const {
  const std::vector<double> rotations = rotations_of(*this, update.scale, parallel);
  const std::vector<float> factors =
      rescaling.empty() ? std::vector<float>() : read_factor(rescaling);
  const uint64_t width = strip_columns(matrix.weight.size());
  parallel((matrix.columns + width - 1) / width, [&](uint64_t i) {
    Strip strip = read_strip(matrix, i * width, std::min(width, matrix.columns - i * width));
    for (uint64_t stage = 0; stage < stages; ++stage) turn(*this, rotations, stage, strip);
    write_strip(strip, factors, matrix);
  });
}

// Blocks for so many rows; none: refused.
std::optional<OutputRotation> read_blocks(
    Builder& builder, const TensorInfo& info, uint64_t outputs) {
  if (builder.refuse_values(info)) return std::nullopt;
  const Shape& sizes = info.spec.shape;
  const size_t n = sizes.size();
  const bool is_whole =
      (n == 3 || n == 4) && sizes[n - 1] == sizes[n - 2] && sizes[n - 3] * sizes[n - 1] == outputs;
  if (!is_whole) {
    builder.refuse_shape(info, fmt::format("(count, size, size) with count * size = {}", outputs));
    return std::nullopt;
  }
  OutputRotation change;
  change.butterfly = n == 4;
  change.stages = change.butterfly ? sizes[0] : 1;
  change.count = sizes[n - 3];
  change.size = sizes[n - 1];
  change.blocks = builder.factor(info, change.stages * change.count, change.size * change.size);
  // Stage i pairs rows that are 2^i * size / 2 apart.
  const bool pairs = !change.butterfly || (change.size % 2 == 0 && change.stages < 32 &&
                                           outputs % (change.size << (change.stages - 1)) == 0);
  if (!pairs) {
    builder.refuse_shape(info, fmt::format("stages that divide {} rows in pairs", outputs));
    return std::nullopt;
  }
  return change;
}

// The number of kohya's "X.oft_blocks.2"; none of LyCORIS's "X.oft_blocks".
std::optional<uint64_t> part_number(const TensorInfo& info) {
  const std::string_view name = info.name;
  const std::string_view text = name.substr(name.rfind('.') + 1);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number ? std::optional(number) : std::nullopt;
}

// Rows [begin, begin + count) of a target as a target of their own.
Target part_of(const Target& target, uint64_t begin, uint64_t count) {
  Target part = target;
  part.rows.clear();
  part.outputs = count;
  uint64_t first = 0;
  for (const TargetRows& rows : target.rows) {
    const uint64_t from = std::max(begin, first);
    const uint64_t to = std::min(begin + count, first + rows.count);
    if (from < to) {
      part.rows.push_back({rows.component, rows.tensor, rows.begin + from - first, to - from});
    }
    first += rows.count;
  }
  return part;
}

// A stack of blocks for each part of a fused layer; alpha is a limit per row, and there always.
void build_kohya(Builder& builder) {
  const Module& module = builder.module;
  std::map<uint64_t, const TensorInfo*> parts;
  for (const Part& part : module.parts) {
    if (part.parameter != oft_blocks) continue;
    const std::optional<uint64_t> number = part_number(*part.info);
    if (!number || !parts.emplace(*number, part.info).second) {
      builder.refuse(
          ProblemKind::duplicate,
          fmt::format("'{}' has several oft_blocks of one kind: {}", module.name, module.keys()));
      return;
    }
  }
  uint64_t rows = 0;
  for (const auto& [number, info] : parts) {
    const Shape& sizes = info->spec.shape;
    rows += sizes.size() == 3 ? sizes[0] * sizes[1] : 0;
  }
  if (parts.rbegin()->first + 1 != parts.size() || rows != builder.target.outputs ||
      module.find(alpha) == nullptr || module.find(rescale) != nullptr) {
    builder.refuse(
        ProblemKind::incomplete,
        fmt::format(
            "'{}' has {}: kohya's OFT needs an alpha and oft_blocks.0, .1, ... for {} rows, these "
            "are for {}",
            module.name,
            module.keys(),
            builder.target.outputs,
            rows));
    return;
  }
  const Alpha limit = find_alpha(module, 1, builder.file, builder.notes);
  if (builder.refuse(limit.refusal)) return;
  uint64_t begin = 0;
  for (const auto& [number, info] : parts) {
    const uint64_t count = info->spec.shape[0] * info->spec.shape[1];
    std::optional<OutputRotation> change = read_blocks(builder, *info, count);
    if (!change) return;
    change->limit = limit.value * static_cast<double>(count);
    Update update = builder.update(std::move(*change));
    update.target = part_of(builder.target, begin, count);
    builder.add(std::move(update), {info, module.find(alpha)});
    begin += count;
  }
}

void build_output_rotation(Builder& builder) {
  const Module& module = builder.module;
  const bool is_numbered = std::ranges::any_of(module.parts, [](const Part& part) {
    return part.parameter == oft_blocks && part_number(*part.info).has_value();
  });
  if (is_numbered) return build_kohya(builder);
  if (std::ranges::count(module.parts, oft_blocks, &Part::parameter) > 1) {
    builder.refuse(
        ProblemKind::duplicate,
        fmt::format("'{}' has several oft_blocks: {}", module.name, module.keys()));
    return;
  }
  const uint64_t outputs = builder.target.outputs;
  std::optional<OutputRotation> change = read_blocks(builder, *module.find(oft_blocks), outputs);
  if (!change) return;
  if (const TensorInfo* info = module.find(rescale)) {
    const std::optional<Factor> factors = builder.vector(*info, outputs);
    if (!factors) return;
    change->rescaling = *factors;
  }
  if (module.find(alpha) != nullptr) {
    const Alpha limit = find_alpha(module, 1, builder.file, builder.notes);
    if (builder.refuse(limit.refusal)) return;
    if (limit.value > 0) change->limit = limit.value * static_cast<double>(outputs);
  }
  builder.add(builder.update(std::move(*change)), {oft_blocks, rescale, alpha});
}

}  // namespace

constexpr Algorithm kOutputRotation = {
    .title = "OFT",
    .own = set_of({oft_blocks, rescale}),
    .others = set_of({alpha}),
    .missing = [](const Module& module) -> std::string_view {
      return module.find(oft_blocks) != nullptr ? "" : "OFT's blocks are missing";
    },
    .build = build_output_rotation,
    .title_of = [](const Module& module) -> std::string_view {
      return module.find(oft_blocks)->spec.shape.size() == 4 ? "BOFT" : "OFT";
    },
};

}  // namespace mflux::lora
