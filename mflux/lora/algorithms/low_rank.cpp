// SPDX-License-Identifier: MIT
// A is read once for all rows and packed for the product; rows of B are read from the file as their
// turn comes, with the scale in them, so that a tile costs rows * rank values and one product.
#include "mflux/lora/algorithms/low_rank.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "mflux/kernels/low_rank.h"
#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/dense.h"
#include "mflux/lora/algorithms/dora.h"
#include "mflux/lora/algorithms/product.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

std::string shape_text(const TensorInfo& info) {
  return to_string(info.spec.shape);
}

std::string matrix_text(uint64_t rows, uint64_t columns) {
  return to_string(Shape{rows, columns});
}

// Null: the target is none.
const InputLayer* input_layer(const Target& target, const BaseModel& model) {
  const auto& layers = model.family->input_layers;
  const auto found = std::ranges::find_if(layers, [&](const InputLayer& layer) {
    return target.component == layer.component && target.rows.size() == 1 &&
           target.rows.front().tensor == layer.tensor;
  });
  return found == layers.end() ? nullptr : &*found;
}

// [outputs, inputs] of the pair, read in either order; none unless both are matrices.
struct Pair {
  Shape down;
  Shape up;

  uint64_t down_rank(bool transposed) const { return transposed ? down[1] : down[0]; }
  uint64_t up_rank(bool transposed) const { return transposed ? up[0] : up[1]; }
  uint64_t inputs(bool transposed) const { return transposed ? down[0] : down[1]; }
  uint64_t outputs(bool transposed) const { return transposed ? up[1] : up[0]; }
  bool has_rank(bool transposed) const { return down_rank(transposed) == up_rank(transposed); }
};

std::optional<Pair> pair_of(const Module& module) {
  Pair pair{
      without_ones(module.find(Parameter::down)->spec.shape, 2),
      without_ones(module.find(Parameter::up)->spec.shape, 2)};
  if (pair.down.size() != 2 || pair.up.size() != 2) return std::nullopt;
  return pair;
}

bool fits(const Pair& pair, bool transposed, const Target& target, const BaseModel& model) {
  const uint64_t inputs = pair.inputs(transposed);
  const bool is_narrow = inputs < target.inputs && input_layer(target, model) != nullptr;
  return pair.has_rank(transposed) && pair.outputs(transposed) == target.outputs &&
         (inputs == target.inputs || is_narrow);
}

Refusal widening(const Module& module, const InputLayer& layer, uint64_t from, uint64_t to) {
  return {
      ProblemKind::unsupported,
      fmt::format(
          "'{0}': widening the model's input from {1} to {2} columns makes another model of it: "
          "this is a control LoRA (as {3}), and only a base whose input has {2} columns takes it",
          module.name,
          from,
          to,
          layer.control_loras)};
}

Refusal refuse_shapes(const Builder& builder) {
  const Module& module = builder.module;
  const Target& target = builder.target;
  const FileContext& file = builder.file;
  const TensorInfo& down = *module.find(Parameter::down);
  const TensorInfo& up = *module.find(Parameter::up);
  const std::string layer = builder.base_text();
  const std::optional<Pair> pair = pair_of(module);
  if (!pair) {
    return {
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: A {} and B {} are not matrices; the layer is {}",
            module.name,
            shape_text(down),
            shape_text(up),
            layer)};
  }
  if (!pair->has_rank(false) && !pair->has_rank(true)) {
    return {
        ProblemKind::rank_mismatch,
        fmt::format(
            "Cannot merge {}: A {} has rank {}, B {} has rank {}; the layer is {}",
            module.name,
            shape_text(down),
            pair->down_rank(file.transposed),
            shape_text(up),
            pair->up_rank(file.transposed),
            layer)};
  }
  const InputLayer* input = input_layer(target, file.model);
  const bool is_wide =
      input != nullptr && pair->has_rank(false) && pair->outputs(false) == target.outputs;
  if (is_wide && pair->inputs(false) == input->control_times * target.inputs) {
    return widening(module, *input, target.inputs, pair->inputs(false));
  }
  std::string message = fmt::format(
      "Cannot merge {}: the LoRA gives {}, the layer is {}; A is {}, B {}",
      module.name,
      size_text({pair->outputs(file.transposed), pair->inputs(file.transposed)}),
      layer,
      size_text(down.spec.shape),
      size_text(up.spec.shape));
  if (is_wide && pair->inputs(false) == input->other_times * target.inputs) {
    message += fmt::format("; it was made for {}, whose input is wider", input->other_model);
  }
  if (file.mixed) message += "; other layers of the file fit only in the other matrix order";
  return {
      ProblemKind::shape_mismatch,
      message,
      fmt::format(
          "Cannot merge {}: delta {} and alt {} != base {}",
          module.name,
          matrix_text(pair->outputs(false), pair->inputs(false)),
          matrix_text(pair->outputs(true), pair->inputs(true)),
          matrix_text(target.outputs, target.inputs))};
}

// The rank comes with it.
struct Matrices {
  LowRank change = {};
  uint64_t rank = 0;
};

std::optional<Matrices> plain(Builder& builder) {
  const Module& module = builder.module;
  const Target& target = builder.target;
  const FileContext& file = builder.file;
  const TensorInfo& down = *module.find(Parameter::down);
  const TensorInfo& up = *module.find(Parameter::up);
  if (builder.refuse_values(down) || builder.refuse_values(up)) return std::nullopt;
  const std::optional<Pair> pair = pair_of(module);
  if (!pair || !fits(*pair, file.transposed, target, file.model)) {
    builder.refuse(refuse_shapes(builder));
    return std::nullopt;
  }
  if (pair->inputs(file.transposed) < target.inputs) {
    builder.notes.add("narrower than the model's input; the other columns stay", module.name);
  }
  Matrices result{.rank = pair->down_rank(file.transposed)};
  result.change.down = builder.factor(down, pair->down[0], pair->down[1]);
  result.change.up = builder.factor(up, pair->up[0], pair->up[1]);
  result.change.transposed = file.transposed;
  return result;
}

std::optional<Matrices> with_core(Builder& builder) {
  const Module& module = builder.module;
  const Target& target = builder.target;
  const std::optional<Factor> down = builder.matrix(Parameter::down);
  const std::optional<Factor> up = builder.matrix(Parameter::up);
  const std::optional<Factor> core = builder.matrix(Parameter::core);
  if (!down || !up || !core) return std::nullopt;
  if (up->columns != core->rows || core->columns != down->rows) {
    builder.refuse(
        ProblemKind::rank_mismatch,
        fmt::format(
            "Cannot merge {}: A {}, core {} and B {} do not multiply",
            module.name,
            matrix_text(down->rows, down->columns),
            matrix_text(core->rows, core->columns),
            matrix_text(up->rows, up->columns)));
    return std::nullopt;
  }
  if (up->rows != target.outputs || down->columns != target.inputs) {
    builder.refuse_size(
        {up->rows, down->columns}, {target.outputs, target.inputs}, builder.base_name(), "delta");
    return std::nullopt;
  }
  Matrices result{.rank = down->rows};
  result.change.down = *down;
  result.change.up = *up;
  result.change.core = *core;
  return result;
}

// What a control LoRA says of the weight that it wants.
bool has_base_width(Builder& builder, const TensorInfo& shape) {
  const Target& target = builder.target;
  if (shape.spec.elements() != 2) return !builder.refuse_shape(shape, "two numbers");
  const std::vector<uint64_t> sizes = read_integers(shape, builder.file.bytes);
  if (sizes.size() == 2 && sizes[0] == target.outputs && sizes[1] == target.inputs) return true;
  const InputLayer* layer = input_layer(target, builder.file.model);
  if (sizes.size() == 2 && sizes[0] == target.outputs && sizes[1] > target.inputs &&
      layer != nullptr) {
    builder.refuse(widening(builder.module, *layer, target.inputs, sizes[1]));
  } else {
    builder.refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "'{}' asks for a weight of {}, the layer is {}",
            shape.name,
            to_string(sizes),
            builder.base_text()));
  }
  return false;
}

void build_low_rank(Builder& builder) {
  const Module& module = builder.module;
  std::optional<Matrices> found =
      module.find(Parameter::core) == nullptr ? plain(builder) : with_core(builder);
  if (!found) return;
  Update update = builder.update(std::move(found->change));
  if (!builder.set_strength(update, found->rank)) return;
  const TensorInfo* shape = module.find(Parameter::shape);
  if (shape != nullptr && !has_base_width(builder, *shape)) return;
  const double strength = update.scale;
  add_or_stretch(
      builder,
      kLowRank,
      std::move(update),
      {Parameter::down, Parameter::up, Parameter::core, Parameter::alpha, Parameter::shape});
  if (const TensorInfo* bias = module.find(Parameter::up_bias)) {
    add_bias_difference(builder, *bias, builder.file.scale * strength);
  }
}

// In the words of the dialects.
std::string_view missing_of_pair(const Module& module) {
  const bool has_down = module.find(Parameter::down) != nullptr;
  const bool has_up = module.find(Parameter::up) != nullptr;
  if (has_down && has_up) return "";
  if (has_up) return "the matrix A (lora_A, lora_down) is missing";
  if (has_down) return "the matrix B (lora_B, lora_up) is missing";
  if (module.find(Parameter::magnitude) != nullptr) return "a magnitude needs matrices";
  return "the matrices A and B are missing";
}

const LowRank& low_rank_of(const Update& update) {
  return static_cast<const LowRank&>(*update.change);
}

}  // namespace

std::string_view LowRank::name() const {
  return core.empty() ? "LoRA" : "LoCon";
}

Prepared LowRank::prepare(const Update& update, uint64_t columns) const {
  std::vector<float> plain(update.rank * columns);
  read_down(update, plain);
  return {.factors = {packed(plain, update.rank, columns)}};
}

void LowRank::change_of(
    const Update& update,
    const Prepared& prepared,
    RowRange range,
    std::span<float> change,
    RowScratch& scratch) const {
  const std::span<float> rows = resized(scratch.up, range.count * update.rank);
  read_up(update, range.first, range.count, rows);
  kernels::low_rank_product(
      rows, prepared.factors.front(), range.count, update.rank, range.columns, change);
}

bool is_low_rank(const Update& update) {
  return dynamic_cast<const LowRank*>(update.change.get()) != nullptr;
}

void read_up(const Update& update, uint64_t first_row, uint64_t rows, std::span<float> out) {
  const LowRank& pair = low_rank_of(update);
  const uint64_t rank = update.rank;
  if (!pair.core.empty()) {
    const Product product{.up = pair.up, .core = pair.core, .down = pair.down};
    return read_up(product, first_row, rows, update.scale, out);
  }
  if (!pair.transposed) {
    read_values(pair.up, first_row * rank, update.scale, out.first(rows * rank));
    return;
  }
  std::vector<float> line(rows);
  for (uint64_t k = 0; k < rank; ++k) {
    read_values(pair.up, k * pair.up.columns + first_row, update.scale, line);
    for (uint64_t i = 0; i < rows; ++i) out[i * rank + k] = line[i];
  }
}

void read_down(const Update& update, std::span<float> out) {
  const LowRank& pair = low_rank_of(update);
  const uint64_t width = update.target.inputs;
  const uint64_t stored = pair.transposed ? pair.down.rows : pair.down.columns;
  std::ranges::fill(out, 0.0F);
  if (!pair.transposed) {
    for (uint64_t k = 0; k < update.rank; ++k) {
      read_values(pair.down, k * stored, 1, out.subspan(k * width, stored));
    }
    return;
  }
  std::vector<float> line(update.rank);
  for (uint64_t j = 0; j < stored; ++j) {
    read_values(pair.down, j * update.rank, 1, line);
    for (uint64_t k = 0; k < update.rank; ++k) out[k * width + j] = line[k];
  }
}

bool is_pair(const Module& module) {
  return module.find(Parameter::down) != nullptr && module.find(Parameter::up) != nullptr &&
         module.find(Parameter::core) == nullptr;
}

Fit fit_of(const Module& module, const BaseModel& model) {
  const std::optional<Pair> pair = pair_of(module);
  if (!pair) return {};
  const Target& target = *module.place.target;
  return {fits(*pair, false, target, model), fits(*pair, true, target, model)};
}

std::optional<uint64_t> pair_rank(const Module& module, bool transposed) {
  const std::optional<Pair> pair = pair_of(module);
  if (!pair || !pair->has_rank(transposed)) return std::nullopt;
  return pair->down_rank(transposed);
}

constexpr Parameters kParts = set_of(
    {Parameter::up,
     Parameter::core,
     Parameter::magnitude,
     Parameter::up_bias,
     Parameter::alpha,
     Parameter::shape});
constexpr Algorithm kLowRank = {
    .title = "LoRA",
    .own = kParts,
    .others = set_of({Parameter::down}),
    .takes_alpha = true,
    .missing = missing_of_pair,
    .build = build_low_rank,
    .title_of = [](const Module& module) -> std::string_view {
      return module.find(Parameter::core) != nullptr ? "LoCon" : "LoRA";
    },
};

}  // namespace mflux::lora
