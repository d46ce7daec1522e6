// SPDX-License-Identifier: MIT
#include "mflux/lora/build.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/lora/builder.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
using safetensors::TensorInfo;

namespace {

std::string shape_text(const TensorInfo& info) {
  return to_string(info.spec.shape);
}

Alpha alpha_from_tensor(const TensorInfo& info, const FileContext& file) {
  const std::optional<double> value = read_scalar(info, file.bytes);
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

}  // namespace

Shape without_ones(Shape shape, size_t dimensions) {
  while (shape.size() > dimensions && shape.back() == 1) shape.pop_back();
  return shape;
}

std::string size_text(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

std::optional<Refusal> check_values(const TensorInfo& info, const JoinedFiles& file) {
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
  if (all_finite(info, file)) return std::nullopt;
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
      .value = config.scale ? *config.scale * static_cast<double>(rank) : config.alpha,
      .source = first ? AlphaSource::metadata : AlphaSource::adapter_config,
      .rank_stabilized = config.rank_stabilized};
}

double whole_lokr_scale(const Module& module, const FileContext& file) {
  for (const AdapterConfig* source : {&file.metadata, &file.sidecar}) {
    const auto config = source->find(module.place.component, module.place.name);
    if (!config) continue;
    const bool counts = config->is_lokr && config->rank && *config->rank != 0;
    return counts ? config->alpha / static_cast<double>(*config->rank) : 1;
  }
  return 1;
}

const OftConfig* find_oft_config(const Module& module, const FileContext& file) {
  const OftConfig* found = file.metadata.find_oft(module.place.component);
  return found != nullptr ? found : file.sidecar.find_oft(module.place.component);
}

Built build(const Module& module, Algorithm algorithm, const FileContext& file, Notes& notes) {
  return Builder(module, file, notes).run(algorithm);
}

Built Builder::run(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::low_rank:
      add_low_rank();
      break;
    case Algorithm::full:
      add_full();
      break;
    case Algorithm::loha:
      add_loha();
      break;
    case Algorithm::lokr:
      add_lokr();
      break;
    case Algorithm::oft:
      add_oft();
      break;
    case Algorithm::input_oft:
      add_input_oft();
      break;
    case Algorithm::glora:
      add_glora();
      break;
    case Algorithm::ia3:
      add_ia3();
      break;
    case Algorithm::dense:
      break;
  }
  if (const TensorInfo* info = module_.find(Parameter::diff)) add_diff(*info);
  if (const TensorInfo* info = module_.find(Parameter::bias_diff)) add_bias(*info, file_.scale);
  const TensorInfo* weight = module_.find(Parameter::weight);
  if (weight != nullptr && algorithm != Algorithm::ia3) add_replacement(*weight);
  if (const TensorInfo* info = module_.find(Parameter::bias)) add_bias_replacement(*info);
  if (built_.refusal) built_.updates.clear();
  return std::move(built_);
}

std::optional<Builder::Strength> Builder::strength(uint64_t rank) {
  const Alpha alpha = find_alpha(module_, rank, file_, notes_);
  if (refuse(alpha.refusal)) return std::nullopt;
  if (alpha.value == 0) notes_.add("alpha is 0: without effect", module_.name);
  const auto r = static_cast<double>(rank);
  return Strength{
      alpha.value, alpha.source, alpha.value / (alpha.rank_stabilized ? std::sqrt(r) : r)};
}

void Builder::add_full() {
  const TensorInfo& down = *module_.find(Parameter::down);
  if (without_ones(down.spec.shape, 1) == without_ones(weight_shape(), 1)) return add_diff(down);
  refuse(
      ProblemKind::incomplete,
      fmt::format(
          "'{}' has only {}: the matrix B (lora_B, lora_up) is missing",
          module_.name,
          module_.keys()));
}

void Builder::add_diff(const TensorInfo& info) {
  if (refuse(check_values(info, file_.bytes)) || !fits_target(info)) return;
  const Factor value = factor(info, target_.outputs, target_.inputs);
  built_.updates.push_back({Dense{module_.name, target_, value, file_.scale}, {&info}});
}

bool Builder::fits_target(const TensorInfo& info) {
  const Shape base = weight_shape();
  if (without_ones(info.spec.shape, 1) == without_ones(base, 1)) return true;
  refuse_size(info.spec.shape, base, base_name(), "delta");
  return false;
}

void Builder::add_bias(const TensorInfo& info, double scale) {
  if (refuse(check_values(info, file_.bytes))) return;
  std::optional<Target> target = bias_target(info);
  if (!target) return;
  const Factor value = factor(info, target->outputs, 1);
  built_.updates.push_back({Dense{module_.name, std::move(*target), value, scale}, {&info}});
}

std::optional<Target> Builder::bias_target(const TensorInfo& info) {
  Target target = target_;
  target.inputs = 1;
  for (TargetRows& rows : target.rows) {
    const std::string layer = rows.tensor.substr(0, rows.tensor.rfind('.'));
    rows.tensor = layer + ".bias";
    if (canonical_shape(rows) == nullptr) {
      refuse(
          ProblemKind::no_bias,
          fmt::format("'{}' changes a bias, but {}/{} has none", info.name, rows.component, layer));
      return std::nullopt;
    }
  }
  if (without_ones(info.spec.shape, 1) != Shape{target.outputs}) {
    const TargetRows& rows = target.rows.front();
    const std::string name = fmt::format("{}/{}", rows.component, rows.tensor);
    refuse_size(info.spec.shape, {target.outputs}, name, "bias delta");
    return std::nullopt;
  }
  return target;
}

bool Builder::refuse(std::optional<Refusal> refusal) {
  if (refusal && !built_.refusal) built_.refusal = std::move(refusal);
  return built_.refusal.has_value();
}

bool Builder::refuse(ProblemKind kind, std::string message) {
  return refuse(Refusal{kind, std::move(message)});
}

bool Builder::refuse_size(
    const Shape& given, const Shape& layer, std::string_view of, std::string_view what) {
  return refuse(Refusal{
      ProblemKind::shape_mismatch,
      fmt::format(
          "Cannot merge {}: the LoRA gives {}, the layer is {} ({})",
          module_.name,
          size_text(given),
          size_text(layer),
          of),
      fmt::format(
          "Cannot merge {}: {} {} != base {}",
          module_.name,
          what,
          to_string(given),
          to_string(layer))});
}

bool Builder::refuse_shape(const TensorInfo& info, std::string_view expected) {
  return refuse(
      ProblemKind::shape_mismatch,
      fmt::format(
          "Cannot merge {}: '{}' is {}, expected {}; the layer is {}",
          module_.name,
          info.name,
          shape_text(info),
          expected,
          base_text()));
}

Factor Builder::factor(const TensorInfo& info, uint64_t rows, uint64_t columns) const {
  return {&info, &file_.bytes, rows, columns};
}

std::optional<Factor> Builder::matrix(Parameter parameter) {
  const TensorInfo& info = *module_.find(parameter);
  if (refuse(check_values(info, file_.bytes))) return std::nullopt;
  const Shape shape = without_ones(info.spec.shape, 2);
  if (shape.size() == 2) return factor(info, shape[0], shape[1]);
  refuse_shape(info, "a matrix");
  return std::nullopt;
}

std::optional<Factor> Builder::vector(const TensorInfo& info, uint64_t size) {
  if (refuse(check_values(info, file_.bytes))) return std::nullopt;
  if (without_ones(info.spec.shape, 1) == Shape{size}) return factor(info, size, 1);
  refuse_shape(info, fmt::format("({})", size));
  return std::nullopt;
}

void Builder::add(Update update, std::initializer_list<Parameter> parameters) {
  std::vector<const TensorInfo*> keys;
  for (const Part& part : module_.parts) {
    if (std::ranges::find(parameters, part.parameter) != parameters.end()) {
      keys.push_back(part.info);
    }
  }
  built_.updates.push_back({std::move(update), std::move(keys)});
}

const Shape* Builder::canonical_shape(const TargetRows& rows) const {
  const auto component = file_.model.components.find(rows.component);
  if (component == file_.model.components.end()) return nullptr;
  const auto shape = component->second.find(rows.tensor);
  return shape == component->second.end() ? nullptr : &shape->second;
}

Shape Builder::weight_shape() const {
  const TargetRows& rows = target_.rows.front();
  const Shape* whole = canonical_shape(rows);
  const bool is_whole = whole != nullptr && !whole->empty() && target_.rows.size() == 1 &&
                        whole->front() == target_.outputs;
  return is_whole ? *whole : Shape{target_.outputs, target_.inputs};
}

std::string Builder::base_text() const {
  return fmt::format("{} ({})", size_text({target_.outputs, target_.inputs}), base_name());
}

std::string Builder::base_name() const {
  return fmt::format("{}/{}", target_.component, target_.rows.front().tensor);
}

}  // namespace mflux::lora
