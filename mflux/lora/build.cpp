// SPDX-License-Identifier: MIT
#include "mflux/lora/build.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

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

// Linear layers are stored as 1x1 convolutions by some: the ones at the end say nothing.
Shape without_ones(Shape shape, size_t dimensions) {
  while (shape.size() > dimensions && shape.back() == 1) shape.pop_back();
  return shape;
}

std::string shape_text(const TensorInfo& info) {
  return to_string(info.spec.shape);
}

std::string matrix_text(uint64_t rows, uint64_t columns) {
  return to_string(Shape{rows, columns});
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

Refusal refuse_shapes(const Module& module, const FileContext& file) {
  const Target& target = *module.place.target;
  const TensorInfo& down = *module.find(Parameter::down);
  const TensorInfo& up = *module.find(Parameter::up);
  const std::string base = fmt::format(
      "{} of {}/{}",
      matrix_text(target.outputs, target.inputs),
      target.component,
      target.rows.front().tensor);
  const std::optional<Pair> pair = pair_of(module);
  if (!pair) {
    return {
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: A {} and B {} are not matrices; base {}",
            module.name,
            shape_text(down),
            shape_text(up),
            base)};
  }
  if (!pair->has_rank(false) && !pair->has_rank(true)) {
    return {
        ProblemKind::rank_mismatch,
        fmt::format(
            "Cannot merge {}: A {} has rank {}, B {} has rank {}; base {}",
            module.name,
            shape_text(down),
            pair->down_rank(file.transposed),
            shape_text(up),
            pair->up_rank(file.transposed),
            base)};
  }
  const bool is_wide = is_input_layer(target, file.model) && pair->has_rank(false) &&
                       pair->outputs(false) == target.outputs &&
                       pair->inputs(false) == 2 * target.inputs;
  if (is_wide) {
    return {
        ProblemKind::unsupported,
        fmt::format(
            "'{}': widening the model's input from {} to {} columns is not supported yet by this "
            "version",
            module.name,
            target.inputs,
            pair->inputs(false))};
  }
  std::string message = fmt::format(
      "Cannot merge {}: delta {} and alt {} != base {} (A {}, B {})",
      module.name,
      matrix_text(pair->outputs(false), pair->inputs(false)),
      matrix_text(pair->outputs(true), pair->inputs(true)),
      base,
      shape_text(down),
      shape_text(up));
  if (file.mixed) message += "; other layers of the file fit only in the other matrix order";
  return {ProblemKind::shape_mismatch, message};
}

Factor factor(const TensorInfo& info, const FileContext& file, uint64_t rows, uint64_t columns) {
  return {&info, file.bytes.subspan(info.offset, info.bytes), rows, columns};
}

Alpha alpha_from_tensor(const TensorInfo& info, const FileContext& file) {
  const auto data = file.bytes.subspan(info.offset, info.bytes);
  const std::optional<double> value = read_scalar(info.spec, data);
  if (!value) {
    return {
        .refusal = Refusal{
            ProblemKind::bad_dtype,
            fmt::format(
                "'{}' is {} {}, expected one number",
                info.name,
                dtype_name(info.spec.dtype),
                shape_text(info))}};
  }
  if (!std::isfinite(*value)) {
    return {
        .refusal = Refusal{
            ProblemKind::non_finite,
            fmt::format("'{}' is {}, expected a finite number", info.name, *value)}};
  }
  return {.value = *value, .source = AlphaSource::tensor};
}

class Builder {
 public:
  Builder(const Module& module, const FileContext& file, Notes& notes)
      : module_(module), target_(*module.place.target), file_(file), notes_(notes) {}

  Built run(Algorithm algorithm) {
    if (algorithm == Algorithm::low_rank) add_low_rank();
    if (algorithm == Algorithm::full) add_full();
    if (const TensorInfo* diff = module_.find(Parameter::diff)) add_diff(*diff);
    if (const TensorInfo* diff = module_.find(Parameter::bias_diff)) add_bias(*diff, file_.scale);
    if (built_.refusal) built_.updates.clear();
    return std::move(built_);
  }

 private:
  // The first refusal counts.
  bool refuse(std::optional<Refusal> refusal) {
    if (refusal && !built_.refusal) built_.refusal = std::move(refusal);
    return built_.refusal.has_value();
  }

  void add_low_rank() {
    const TensorInfo& down = *module_.find(Parameter::down);
    const TensorInfo& up = *module_.find(Parameter::up);
    if (refuse(check_values(down, file_.bytes)) || refuse(check_values(up, file_.bytes))) return;
    const std::optional<Pair> pair = pair_of(module_);
    if (!pair || !fits(*pair, file_.transposed, target_, file_.model)) {
      refuse(refuse_shapes(module_, file_));
      return;
    }
    LowRank update{.module = module_.name, .target = target_};
    update.down = factor(down, file_, pair->down[0], pair->down[1]);
    update.up = factor(up, file_, pair->up[0], pair->up[1]);
    update.transposed = file_.transposed;
    update.rank = pair->down_rank(file_.transposed);
    const Alpha alpha = find_alpha(module_, update.rank, file_, notes_);
    if (refuse(alpha.refusal)) return;
    const auto rank = static_cast<double>(update.rank);
    update.alpha = alpha.value;
    update.alpha_source = alpha.source;
    update.scale = file_.scale * alpha.value / (alpha.rank_stabilized ? std::sqrt(rank) : rank);
    if (alpha.value == 0) notes_.add("alpha is 0: without effect", module_.name);
    if (pair->inputs(file_.transposed) < target_.inputs) {
      notes_.add("narrower than the model's input; the other columns stay", module_.name);
    }
    const double scale = update.scale;
    std::vector<const TensorInfo*> keys = {&down, &up};
    if (const TensorInfo* info = module_.find(Parameter::alpha)) keys.push_back(info);
    built_.updates.push_back({std::move(update), std::move(keys)});
    if (const TensorInfo* bias = module_.find(Parameter::up_bias)) add_bias(*bias, scale);
  }

  void add_full() {
    const TensorInfo& down = *module_.find(Parameter::down);
    if (without_ones(down.spec.shape, 1) == without_ones(weight_shape(), 1)) return add_diff(down);
    refuse(Refusal{
        ProblemKind::incomplete,
        fmt::format(
            "'{}' has only {}: the matrix B (lora_B, lora_up) is missing",
            module_.name,
            module_.keys())});
  }

  void add_diff(const TensorInfo& info) {
    if (refuse(check_values(info, file_.bytes))) return;
    const Shape base = weight_shape();
    if (without_ones(info.spec.shape, 1) != without_ones(base, 1)) {
      refuse(Refusal{
          ProblemKind::shape_mismatch,
          fmt::format(
              "Cannot merge {}: delta {} != base {} of {}/{}",
              module_.name,
              shape_text(info),
              to_string(base),
              target_.component,
              target_.rows.front().tensor)});
      return;
    }
    const Factor value = factor(info, file_, target_.outputs, target_.inputs);
    built_.updates.push_back({Dense{module_.name, target_, value, file_.scale}, {&info}});
  }

  void add_bias(const TensorInfo& info, double scale) {
    if (refuse(check_values(info, file_.bytes))) return;
    Target target = target_;
    target.inputs = 1;
    for (TargetRows& rows : target.rows) {
      const std::string layer = rows.tensor.substr(0, rows.tensor.rfind('.'));
      rows.tensor = layer + ".bias";
      if (canonical_shape(rows) == nullptr) {
        refuse(Refusal{
            ProblemKind::no_bias,
            fmt::format(
                "'{}' changes a bias, but {}/{} has none", info.name, rows.component, layer)});
        return;
      }
    }
    if (without_ones(info.spec.shape, 1) != Shape{target.outputs}) {
      refuse(Refusal{
          ProblemKind::shape_mismatch,
          fmt::format(
              "Cannot merge {}: bias delta {} != base ({})",
              module_.name,
              shape_text(info),
              target.outputs)});
      return;
    }
    const Factor value = factor(info, file_, target.outputs, 1);
    built_.updates.push_back({Dense{module_.name, std::move(target), value, scale}, {&info}});
  }

  const Shape* canonical_shape(const TargetRows& rows) const {
    const auto component = file_.model.components.find(rows.component);
    if (component == file_.model.components.end()) return nullptr;
    const auto shape = component->second.find(rows.tensor);
    return shape == component->second.end() ? nullptr : &shape->second;
  }

  // Of a tensor that is one target, its own; of anything fused, [outputs, inputs].
  Shape weight_shape() const {
    const TargetRows& rows = target_.rows.front();
    const Shape* whole = canonical_shape(rows);
    const bool is_whole = whole != nullptr && !whole->empty() && target_.rows.size() == 1 &&
                          whole->front() == target_.outputs;
    return is_whole ? *whole : Shape{target_.outputs, target_.inputs};
  }

  const Module& module_;
  const Target& target_;
  const FileContext& file_;
  Notes& notes_;
  Built built_;
};

}  // namespace

Fit fit_of(const Module& module, const BaseModel& model) {
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

std::optional<Refusal> check_values(const TensorInfo& info, std::span<const std::byte> file) {
  if (info.bytes == 0) {
    return Refusal{
        ProblemKind::empty_tensor,
        fmt::format("'{}' has shape {}: it holds nothing", info.name, shape_text(info))};
  }
  if (!is_float(info.spec.dtype)) {
    return Refusal{
        ProblemKind::bad_dtype,
        fmt::format("'{}' has dtype {}, expected floats", info.name, dtype_name(info.spec.dtype))};
  }
  const auto data = file.subspan(info.offset, info.bytes);
  if (all_finite(info.spec.dtype, data)) return std::nullopt;
  return Refusal{
      ProblemKind::non_finite, fmt::format("'{}' holds values that are not finite", info.name)};
}

Alpha find_alpha(const Module& module, uint64_t rank, const FileContext& file, Notes& notes) {
  if (const TensorInfo* info = module.find(Parameter::alpha)) return alpha_from_tensor(*info, file);
  const auto first = file.metadata.find(module.place.component, module.place.name);
  const auto second = file.sidecar.find(module.place.component, module.place.name);
  if (!first && !second) return {.value = static_cast<double>(rank)};
  const ModuleConfig& config = first ? *first : *second;
  if (first && second && first->alpha != second->alpha) {
    notes.add("adapter_config.json says another alpha than the metadata, which count", module.name);
  }
  if (config.rank && *config.rank != rank) {
    notes.add(
        fmt::format("the configuration says rank {}, the matrices have {}", *config.rank, rank),
        module.name);
  }
  return {
      .value = config.alpha,
      .source = first ? AlphaSource::metadata : AlphaSource::adapter_config,
      .rank_stabilized = config.rank_stabilized};
}

Built build(const Module& module, Algorithm algorithm, const FileContext& file, Notes& notes) {
  return Builder(module, file, notes).run(algorithm);
}

}  // namespace mflux::lora
