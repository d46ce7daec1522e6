// SPDX-License-Identifier: MIT
// A and B: in which order they are stored, whether they fit, and LoCon's core between them.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/builder.h"
#include "mflux/lora/values.h"

namespace mflux::lora {

using safetensors::TensorInfo;

namespace {

std::string shape_text(const TensorInfo& info) {
  return to_string(info.spec.shape);
}

std::string matrix_text(uint64_t rows, uint64_t columns) {
  return to_string(Shape{rows, columns});
}

// The input layers of models that exist in several widths, of which a narrower LoRA changes the
// first columns.
struct InputLayer {
  std::string_view family;
  std::string_view tensor;
};
constexpr std::array kInputLayers = {InputLayer{"flux", "x_embedder.weight"}};

bool is_input_layer(const Target& target, const BaseModel& model) {
  return std::ranges::any_of(kInputLayers, [&](const InputLayer& layer) {
    return layer.family == model.family && target.component == "transformer" &&
           target.rows.size() == 1 && target.rows.front().tensor == layer.tensor;
  });
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
  const bool is_narrow = inputs < target.inputs && is_input_layer(target, model);
  return pair.has_rank(transposed) && pair.outputs(transposed) == target.outputs &&
         (inputs == target.inputs || is_narrow);
}

constexpr uint64_t kFillWidth = 6;  // times as many input columns as text-to-image models

Refusal widening(const Module& module, uint64_t from, uint64_t to) {
  return {
      ProblemKind::unsupported,
      fmt::format(
          "'{0}': widening the model's input from {1} to {2} columns makes another model of it: "
          "this "
          "is a control LoRA (as FLUX.1-Canny-dev-lora and FLUX.1-Depth-dev-lora), and only a base "
          "whose input has {2} columns takes it",
          module.name,
          from,
          to)};
}

Refusal refuse_shapes(const Module& module, const FileContext& file) {
  const Target& target = *module.place.target;
  const TensorInfo& down = *module.find(Parameter::down);
  const TensorInfo& up = *module.find(Parameter::up);
  const std::string layer = fmt::format(
      "{} ({}/{})",
      size_text({target.outputs, target.inputs}),
      target.component,
      target.rows.front().tensor);
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
  const bool is_wide = is_input_layer(target, file.model) && pair->has_rank(false) &&
                       pair->outputs(false) == target.outputs;
  if (is_wide && pair->inputs(false) == 2 * target.inputs) {
    return widening(module, target.inputs, pair->inputs(false));
  }
  std::string message = fmt::format(
      "Cannot merge {}: the LoRA gives {}, the layer is {}; A is {}, B {}",
      module.name,
      size_text({pair->outputs(file.transposed), pair->inputs(file.transposed)}),
      layer,
      size_text(down.spec.shape),
      size_text(up.spec.shape));
  if (is_wide && pair->inputs(false) == kFillWidth * target.inputs) {
    message += "; it was made for FLUX.1-Fill, whose input is wider";
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

}  // namespace

Fit fit_of(const Module& module, const BaseModel& model) {
  if (module.find(Parameter::core) != nullptr) return {};
  const std::optional<Pair> pair = pair_of(module);
  if (!pair) return {};
  return {
      fits(*pair, false, *module.place.target, model),
      fits(*pair, true, *module.place.target, model)};
}

std::optional<uint64_t> rank_of(const Module& module, bool transposed) {
  const std::optional<Pair> pair = pair_of(module);
  if (!pair || !pair->has_rank(transposed)) return std::nullopt;
  return pair->down_rank(transposed);
}

void Builder::add_low_rank() {
  std::optional<LowRank> update =
      module_.find(Parameter::core) == nullptr ? low_rank() : low_rank_with_core();
  if (!update) return;
  const std::optional<Strength> strong = strength(update->rank);
  if (!strong) return;
  update->alpha = strong->alpha;
  update->alpha_source = strong->source;
  update->scale = strong->scale;
  if (const TensorInfo* info = module_.find(Parameter::shape); info && !has_base_width(*info)) {
    return;
  }
  using enum Parameter;
  add_change(std::move(*update), {down, up, core, alpha, shape});
  if (const TensorInfo* info = module_.find(up_bias)) add_bias(*info, file_.scale * strong->scale);
}

std::optional<LowRank> Builder::low_rank() {
  const TensorInfo& down = *module_.find(Parameter::down);
  const TensorInfo& up = *module_.find(Parameter::up);
  if (refuse(check_values(down, file_.bytes)) || refuse(check_values(up, file_.bytes))) return {};
  const std::optional<Pair> pair = pair_of(module_);
  if (!pair || !fits(*pair, file_.transposed, target_, file_.model)) {
    refuse(refuse_shapes(module_, file_));
    return std::nullopt;
  }
  LowRank update{.module = module_.name, .target = target_};
  update.down = factor(down, pair->down[0], pair->down[1]);
  update.up = factor(up, pair->up[0], pair->up[1]);
  update.transposed = file_.transposed;
  update.rank = pair->down_rank(file_.transposed);
  if (pair->inputs(file_.transposed) < target_.inputs) {
    notes_.add("narrower than the model's input; the other columns stay", module_.name);
  }
  return update;
}

std::optional<LowRank> Builder::low_rank_with_core() {
  const std::optional<Factor> down = matrix(Parameter::down);
  const std::optional<Factor> up = matrix(Parameter::up);
  const std::optional<Factor> core = matrix(Parameter::core);
  if (!down || !up || !core) return std::nullopt;
  if (up->columns != core->rows || core->columns != down->rows) {
    refuse(
        ProblemKind::rank_mismatch,
        fmt::format(
            "Cannot merge {}: A {}, core {} and B {} do not multiply",
            module_.name,
            matrix_text(down->rows, down->columns),
            matrix_text(core->rows, core->columns),
            matrix_text(up->rows, up->columns)));
    return std::nullopt;
  }
  if (up->rows != target_.outputs || down->columns != target_.inputs) {
    refuse_size({up->rows, down->columns}, {target_.outputs, target_.inputs}, base_name(), "delta");
    return std::nullopt;
  }
  return LowRank{
      .module = module_.name,
      .target = target_,
      .down = *down,
      .up = *up,
      .rank = down->rows,
      .core = *core};
}

bool Builder::has_base_width(const TensorInfo& shape) {
  if (shape.spec.elements() != 2) return !refuse_shape(shape, "two numbers");
  const std::vector<uint64_t> sizes = read_integers(shape, file_.bytes);
  if (sizes.size() == 2 && sizes[0] == target_.outputs && sizes[1] == target_.inputs) return true;
  if (sizes.size() == 2 && sizes[0] == target_.outputs && sizes[1] > target_.inputs &&
      is_input_layer(target_, file_.model)) {
    refuse(widening(module_, target_.inputs, sizes[1]));
  } else {
    refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "'{}' asks for a weight of {}, the layer is {}",
            shape.name,
            to_string(sizes),
            base_text()));
  }
  return false;
}

}  // namespace mflux::lora
