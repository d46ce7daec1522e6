// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/builder.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mflux/base/tensor.h"

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

const Shape* canonical_shape(const BaseModel& model, const TargetRows& rows) {
  const auto component = model.components.find(rows.component);
  if (component == model.components.end()) return nullptr;
  const auto shape = component->second.find(rows.tensor);
  return shape == component->second.end() ? nullptr : &shape->second;
}

}  // namespace

Shape without_ones(Shape shape, size_t dimensions) {
  while (shape.size() > dimensions && shape.back() == 1) shape.pop_back();
  return shape;
}

std::string size_text(const Shape& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

bool Builder::refuse(std::optional<Refusal> refusal) {
  if (refusal && !built.refusal) built.refusal = std::move(refusal);
  return built.refusal.has_value();
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
          module.name,
          size_text(given),
          size_text(layer),
          of),
      fmt::format(
          "Cannot merge {}: {} {} != base {}",
          module.name,
          what,
          to_string(given),
          to_string(layer))});
}

bool Builder::refuse_shape(const TensorInfo& info, std::string_view expected) {
  return refuse(
      ProblemKind::shape_mismatch,
      fmt::format(
          "Cannot merge {}: '{}' is {}, expected {}; the layer is {}",
          module.name,
          info.name,
          to_string(info.spec.shape),
          expected,
          base_text()));
}

bool Builder::refuse_values(const TensorInfo& info) {
  return refuse(check_values(info, file.bytes));
}

Factor Builder::factor(const TensorInfo& info, uint64_t rows, uint64_t columns) const {
  return {&info, &file.bytes, rows, columns};
}

std::optional<Factor> Builder::matrix(Parameter parameter) {
  const TensorInfo& info = *module.find(parameter);
  if (refuse_values(info)) return std::nullopt;
  const Shape shape = without_ones(info.spec.shape, 2);
  if (shape.size() == 2) return factor(info, shape[0], shape[1]);
  refuse_shape(info, "a matrix");
  return std::nullopt;
}

std::optional<Factor> Builder::vector(const TensorInfo& info, uint64_t size) {
  if (refuse_values(info)) return std::nullopt;
  if (without_ones(info.spec.shape, 1) == Shape{size}) return factor(info, size, 1);
  refuse_shape(info, fmt::format("({})", size));
  return std::nullopt;
}

bool Builder::fits_target(const TensorInfo& info) {
  const Shape base = weight_shape();
  if (without_ones(info.spec.shape, 1) == without_ones(base, 1)) return true;
  refuse_size(info.spec.shape, base, base_name(), "delta");
  return false;
}

std::optional<Target> Builder::bias_target(const TensorInfo& info) {
  Target biases = target;
  biases.inputs = 1;
  for (TargetRows& rows : biases.rows) {
    const std::string layer = rows.tensor.substr(0, rows.tensor.rfind('.'));
    rows.tensor = layer + ".bias";
    if (canonical_shape(file.model, rows) == nullptr) {
      refuse(
          ProblemKind::no_bias,
          fmt::format("'{}' changes a bias, but {}/{} has none", info.name, rows.component, layer));
      return std::nullopt;
    }
  }
  if (without_ones(info.spec.shape, 1) != Shape{biases.outputs}) {
    const TargetRows& rows = biases.rows.front();
    const std::string name = full_name(rows.component, rows.tensor);
    refuse_size(info.spec.shape, {biases.outputs}, name, "bias delta");
    return std::nullopt;
  }
  return biases;
}

bool Builder::set_strength(Update& update, uint64_t rank) {
  const Alpha alpha = find_alpha(module, rank, file, notes);
  if (refuse(alpha.refusal)) return false;
  if (alpha.value == 0) notes.add("alpha is 0: without effect", module.name);
  const auto r = static_cast<double>(rank);
  update.rank = rank;
  update.alpha = alpha.value;
  update.alpha_source = alpha.source;
  update.scale = alpha.value / (alpha.rank_stabilized ? std::sqrt(r) : r);
  return true;
}

void Builder::add(Update update, std::vector<const TensorInfo*> keys) {
  built.updates.push_back({std::move(update), std::move(keys)});
}

void Builder::add(Update update, std::initializer_list<Parameter> parameters) {
  std::vector<const TensorInfo*> keys;
  for (const Part& part : module.parts) {
    if (std::ranges::find(parameters, part.parameter) != parameters.end()) {
      keys.push_back(part.info);
    }
  }
  add(std::move(update), std::move(keys));
}

std::string Builder::base_text() const {
  return fmt::format("{} ({})", size_text({target.outputs, target.inputs}), base_name());
}

std::string Builder::base_name() const {
  return full_name(target.component, target.rows.front().tensor);
}

Shape Builder::weight_shape() const {
  const Shape* whole = canonical_shape(file.model, target.rows.front());
  const bool is_whole = whole != nullptr && !whole->empty() && target.rows.size() == 1 &&
                        whole->front() == target.outputs;
  return is_whole ? *whole : Shape{target.outputs, target.inputs};
}

}  // namespace mflux::lora
