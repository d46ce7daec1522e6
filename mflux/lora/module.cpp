// SPDX-License-Identifier: MIT
#include "mflux/lora/module.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

namespace mflux::lora {
namespace {

// Parameters that say which algorithm it is, whatever else is there. The first that is there
// counts.
struct Foreign {
  Parameter parameter;
  std::string_view algorithm;
};
constexpr std::array kForeign = {
    Foreign{Parameter::loha, "LoHa"},
    Foreign{Parameter::lokr, "LoKr"},
    Foreign{Parameter::oft_matrix, "OFT (PEFT)"},
    Foreign{Parameter::oft_blocks, "OFT"},
    Foreign{Parameter::glora, "GLoRA"},
    Foreign{Parameter::on_input, "IA3"},
    Foreign{Parameter::core, "LoRA with a Tucker core (lora_mid)"},
    Foreign{Parameter::shape, "widening a layer (reshape_weight)"},
};

// Of these a module may hold several tensors.
constexpr std::array kSeveral = {
    Parameter::loha,
    Parameter::lokr,
    Parameter::oft_matrix,
    Parameter::oft_blocks,
    Parameter::glora};

Classified unsupported(const Module& module, std::string_view what) {
  std::string message = fmt::format(
      "'{}': {} is not supported yet by this version ({})", module.name, what, module.keys());
  return {Algorithm::dense, Refusal{ProblemKind::unsupported, std::move(message)}, what};
}

Classified incomplete(const Module& module, std::string_view missing) {
  std::string message = fmt::format("'{}' has only {}: {}", module.name, module.keys(), missing);
  return {Algorithm::dense, Refusal{ProblemKind::incomplete, std::move(message)}, "incomplete"};
}

std::optional<Refusal> find_duplicate(const Module& module) {
  for (const Part& part : module.parts) {
    if (std::ranges::find(kSeveral, part.parameter) != kSeveral.end()) continue;
    const auto* first = module.find(part.parameter);
    if (first == part.info) continue;
    return Refusal{
        ProblemKind::duplicate,
        fmt::format(
            "'{}' has '{}' and '{}', two values for one thing",
            module.name,
            first->name,
            part.info->name)};
  }
  return std::nullopt;
}

}  // namespace

const safetensors::TensorInfo* Module::find(Parameter parameter) const {
  const auto found = std::ranges::find(parts, parameter, &Part::parameter);
  return found == parts.end() ? nullptr : found->info;
}

std::string Module::keys() const {
  std::string keys;
  for (const Part& part : parts) {
    if (!keys.empty()) keys += ", ";
    keys += part.info->name;
  }
  return keys;
}

Classified classify(const Module& module) {
  const auto has = [&](Parameter parameter) { return module.find(parameter) != nullptr; };
  const bool has_down = has(Parameter::down);
  const bool has_up = has(Parameter::up);
  for (const Foreign& foreign : kForeign) {
    if (has(foreign.parameter)) return unsupported(module, foreign.algorithm);
  }
  if (has(Parameter::magnitude) && (has_down || has_up)) return unsupported(module, "DoRA");
  if (has(Parameter::magnitude)) return incomplete(module, "a magnitude needs matrices");
  if (has(Parameter::weight) || has(Parameter::bias)) {
    return unsupported(module, "replacing a tensor (set_weight)");
  }
  if (auto duplicate = find_duplicate(module)) {
    return {Algorithm::dense, std::move(duplicate), "double"};
  }
  if (has(Parameter::rescale)) return incomplete(module, "OFT's blocks are missing");
  if (has_down && has_up) return {.algorithm = Algorithm::low_rank, .title = "LoRA"};
  if (has_up) return incomplete(module, "the matrix A (lora_A, lora_down) is missing");
  const bool has_leftover = has(Parameter::alpha) || has(Parameter::up_bias);
  if (has_down && (has_leftover || has(Parameter::diff))) {
    return incomplete(module, "the matrix B (lora_B, lora_up) is missing");
  }
  if (has_down) return {.algorithm = Algorithm::full, .title = "full matrix"};
  if (has_leftover) return incomplete(module, "the matrices A and B are missing");
  return {.algorithm = Algorithm::dense, .title = "difference"};
}

}  // namespace mflux::lora
