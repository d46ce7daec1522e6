// SPDX-License-Identifier: MIT
// Rotations (OFT and BOFT), GLoRA, IA3, and new values.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/builder.h"
#include "mflux/lora/values.h"

namespace mflux::lora {

using enum Parameter;
using safetensors::TensorInfo;

namespace {

// Neumann's series as OneTrainer has it, and PEFT if its configuration says nothing else.
constexpr uint64_t kNeumannTerms = 5;

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

// The side of a matrix of which `size` values lie above the diagonal; 0: there is none.
uint64_t side_of_triangle(uint64_t size) {
  const auto side =
      static_cast<uint64_t>((1 + std::sqrt(1 + 8 * static_cast<double>(size))) / 2 + 0.5);
  return side * (side - 1) / 2 == size ? side : 0;
}

}  // namespace

std::optional<OutputRotation> Builder::rotation(const TensorInfo& info, const Target& target) {
  if (refuse(check_values(info, file_.bytes))) return std::nullopt;
  const Shape& shape = info.spec.shape;
  const size_t n = shape.size();
  const bool is_whole = (n == 3 || n == 4) && shape[n - 1] == shape[n - 2] &&
                        shape[n - 3] * shape[n - 1] == target.outputs;
  if (!is_whole) {
    refuse_shape(info, fmt::format("(count, size, size) with count * size = {}", target.outputs));
    return std::nullopt;
  }
  OutputRotation update{.module = module_.name, .target = target};
  update.butterfly = n == 4;
  update.stages = update.butterfly ? shape[0] : 1;
  update.count = shape[n - 3];
  update.size = shape[n - 1];
  update.blocks = factor(info, update.stages * update.count, update.size * update.size);
  update.scale = file_.scale;
  // Stage i pairs rows that are 2^i * size / 2 apart.
  const bool pairs =
      !update.butterfly || (update.size % 2 == 0 && update.stages < 32 &&
                            target.outputs % (update.size << (update.stages - 1)) == 0);
  if (!pairs) {
    refuse_shape(info, fmt::format("stages that divide {} rows in pairs", target.outputs));
    return std::nullopt;
  }
  return update;
}

void Builder::add_oft() {
  const bool is_numbered = std::ranges::any_of(module_.parts, [](const Part& part) {
    return part.parameter == oft_blocks && part_number(*part.info).has_value();
  });
  if (is_numbered) return add_kohya_oft();
  const auto several = std::ranges::count(module_.parts, oft_blocks, &Part::parameter);
  if (several > 1) {
    refuse(
        ProblemKind::duplicate,
        fmt::format("'{}' has several oft_blocks: {}", module_.name, module_.keys()));
    return;
  }
  std::optional<OutputRotation> update = rotation(*module_.find(oft_blocks), target_);
  if (!update) return;
  if (const TensorInfo* info = module_.find(rescale)) {
    const std::optional<Factor> factors = vector(*info, target_.outputs);
    if (!factors) return;
    update->rescale = *factors;
  }
  if (module_.find(alpha) != nullptr) {
    const Alpha limit = find_alpha(module_, 1, file_, notes_);
    if (refuse(limit.refusal)) return;
    update->limited = limit.value > 0;
    update->limit = limit.value * static_cast<double>(target_.outputs);
  }
  add(std::move(*update), {oft_blocks, rescale, alpha});
}

// A stack of blocks for each part of a fused layer; alpha is a limit per row, and there always.
void Builder::add_kohya_oft() {
  std::map<uint64_t, const TensorInfo*> parts;
  for (const Part& part : module_.parts) {
    if (part.parameter != oft_blocks) continue;
    const std::optional<uint64_t> number = part_number(*part.info);
    if (!number || !parts.emplace(*number, part.info).second) {
      refuse(
          ProblemKind::duplicate,
          fmt::format("'{}' has several oft_blocks of one kind: {}", module_.name, module_.keys()));
      return;
    }
  }
  uint64_t rows = 0;
  for (const auto& [number, info] : parts) {
    const Shape& shape = info->spec.shape;
    rows += shape.size() == 3 ? shape[0] * shape[1] : 0;
  }
  if (parts.rbegin()->first + 1 != parts.size() || rows != target_.outputs ||
      module_.find(alpha) == nullptr || module_.find(rescale) != nullptr) {
    refuse(
        ProblemKind::incomplete,
        fmt::format(
            "'{}' has {}: kohya's OFT needs an alpha and oft_blocks.0, .1, ... for {} rows, these "
            "are for {}",
            module_.name,
            module_.keys(),
            target_.outputs,
            rows));
    return;
  }
  const Alpha limit = find_alpha(module_, 1, file_, notes_);
  if (refuse(limit.refusal)) return;
  uint64_t begin = 0;
  for (const auto& [number, info] : parts) {
    const uint64_t count = info->spec.shape[0] * info->spec.shape[1];
    std::optional<OutputRotation> update = rotation(*info, part_of(target_, begin, count));
    if (!update) return;
    begin += count;
    update->limited = true;
    update->limit = limit.value * static_cast<double>(count);
    built_.updates.push_back({std::move(*update), {info, module_.find(alpha)}});
  }
}

void Builder::add_input_oft() {
  const std::optional<Factor> triangles = matrix(oft_matrix);
  if (!triangles) return;
  const TensorInfo& info = *triangles->info;
  const uint64_t size = side_of_triangle(triangles->columns);
  const bool is_shared = triangles->rows == 1 && size != 0 && target_.inputs % size == 0;
  if (size == 0 || (triangles->rows * size != target_.inputs && !is_shared)) {
    refuse_shape(
        info, fmt::format("(count, size * (size - 1) / 2) with count * size = {}", target_.inputs));
    return;
  }
  if (file_.scale != 1) {
    refuse(
        ProblemKind::oft_strength,
        fmt::format(
            "'{}' is a rotation of the inputs, which has no meaning at scale {}: use 1",
            module_.name,
            file_.scale));
    return;
  }
  InputRotation update{.module = module_.name, .target = target_, .triangles = *triangles};
  update.size = size;
  update.count = target_.inputs / size;
  update.terms = kNeumannTerms;
  if (module_.find(oft_scaled) != nullptr) {
    update.divisor = 2 * std::sqrt(static_cast<double>(size) - 1);
  } else if (const OftConfig* config = find_oft_config(module_, file_)) {
    if (config->constrained) {
      refuse(
          ProblemKind::unsupported,
          fmt::format(
              "'{}': the configuration says coft, whose projection is part of the training",
              module_.name));
      return;
    }
    update.terms = config->uses_series ? config->terms : 0;
  }
  add(std::move(update), {oft_matrix, oft_scaled});
}

void Builder::add_glora() {
  if (const TensorInfo* info = module_.find(glora_core)) {
    refuse(
        ProblemKind::unsupported,
        fmt::format("'{}' is the core of a convolution; this is a linear layer", info->name));
    return;
  }
  std::optional<Factor> a1 = matrix(glora_a1);
  std::optional<Factor> a2 = matrix(glora_a2);
  std::optional<Factor> b1 = matrix(glora_b1);
  std::optional<Factor> b2 = matrix(glora_b2);
  if (!a1 || !a2 || !b1 || !b2) return;
  const auto fits_target = [&] {
    return a1->rows == target_.inputs && a2->columns == target_.inputs &&
           b1->rows == target_.outputs && b2->columns == target_.inputs &&
           a1->columns == a2->rows && b1->columns == a2->rows && b2->rows == a2->rows;
  };
  if (!fits_target()) {  // older LyCORIS has the names the other way round
    std::swap(a1, a2);
    std::swap(b1, b2);
  }
  if (!fits_target()) {
    refuse(
        ProblemKind::shape_mismatch,
        fmt::format(
            "Cannot merge {}: GLoRA's a1 {}, a2 {}, b1 {}, b2 {} fit the layer, {}, in neither "
            "order",
            module_.name,
            to_string(module_.find(glora_a1)->spec.shape),
            to_string(module_.find(glora_a2)->spec.shape),
            to_string(module_.find(glora_b1)->spec.shape),
            to_string(module_.find(glora_b2)->spec.shape),
            base_text()));
    return;
  }
  Glora update{
      .module = module_.name, .target = target_, .a1 = *a1, .a2 = *a2, .b1 = *b1, .b2 = *b2};
  update.rank = a2->rows;
  const std::optional<Strength> strong = strength(update.rank);
  if (!strong) return;
  update.alpha = strong->alpha;
  update.alpha_source = strong->source;
  update.scale = file_.scale * strong->scale;
  add(std::move(update), {glora_a1, glora_a2, glora_b1, glora_b2, alpha});
}

void Builder::add_ia3() {
  const TensorInfo& direction = *module_.find(on_input);
  const std::optional<double> value = read_scalar(direction, file_.bytes);
  if (!value || (*value != 0 && *value != 1)) {
    refuse(
        ProblemKind::bad_dtype,
        fmt::format("'{}' is neither 0 (outputs) nor 1 (inputs)", direction.name));
    return;
  }
  Ia3 update{.module = module_.name, .target = target_};
  update.per_input = *value == 1;
  const uint64_t size = update.per_input ? target_.inputs : target_.outputs;
  const TensorInfo& info = *module_.find(weight);
  if (refuse(check_values(info, file_.bytes))) return;
  if (info.spec.elements() != size || info.spec.shape.size() > 4) {
    refuse_shape(info, fmt::format("({})", size));
    return;
  }
  update.value = factor(info, size, 1);
  update.scale = file_.scale;
  add(std::move(update), {weight, on_input});
}

void Builder::add_replacement(const TensorInfo& info) {
  if (refuse(check_values(info, file_.bytes))) return;
  if (info.name.ends_with(".scale") && info.spec.elements() == 1 && target_.outputs != 1) {
    refuse(
        ProblemKind::unsupported,
        fmt::format(
            "'{}' is one number: a scale beside the LoRA, which no trainer of these models writes",
            info.name));
    return;
  }
  if (!fits_target(info)) return;
  const Factor value = factor(info, target_.outputs, target_.inputs);
  notes_.add("replaces the tensor, whatever the scale", module_.name);
  built_.updates.push_back({Replacement{module_.name, target_, value}, {&info}});
}

void Builder::add_bias_replacement(const TensorInfo& info) {
  if (refuse(check_values(info, file_.bytes))) return;
  std::optional<Target> target = bias_target(info);
  if (!target) return;
  const Factor value = factor(info, target->outputs, 1);
  notes_.add("replaces the tensor, whatever the scale", module_.name);
  built_.updates.push_back({Replacement{module_.name, std::move(*target), value}, {&info}});
}

}  // namespace mflux::lora
