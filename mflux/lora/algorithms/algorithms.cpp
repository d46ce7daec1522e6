// SPDX-License-Identifier: MIT
#include "mflux/lora/algorithms/algorithms.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/dense.h"
#include "mflux/lora/algorithms/replacement.h"

namespace mflux::lora {
namespace {

using enum Parameter;

// Those with names of their own first: a plain LoRA is also known by an alpha alone.
constexpr std::array kAlgorithms = {
    &kHadamard,
    &kKronecker,
    &kInputRotation,
    &kOutputRotation,
    &kGlora,
    &kIa3,
    &kLowRank,
    &kFullMatrix,
    &kDense,
};

constexpr Parameters kAlways = set_of({diff, bias_diff, weight, bias});

std::optional<Refusal> find_duplicate(const Module& module) {
  for (const Part& part : module.parts) {
    if (part.parameter == oft_blocks) continue;  // kohya's are numbered
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

std::string_view title_of(const Module& module, const Algorithm& algorithm) {
  if (module.find(magnitude) != nullptr) return algorithm.dora_title;
  return algorithm.title_of == nullptr ? algorithm.title : algorithm.title_of(module);
}

Classified classify_as(const Module& module, const Algorithm& algorithm) {
  const std::string_view missing = algorithm.missing == nullptr ? "" : algorithm.missing(module);
  if (!missing.empty()) {
    std::string message = fmt::format("'{}' has only {}: {}", module.name, module.keys(), missing);
    return {nullptr, Refusal{ProblemKind::incomplete, std::move(message)}, "incomplete"};
  }
  Classified result{.algorithm = &algorithm, .title = title_of(module, algorithm)};
  const Parameters known = algorithm.own | algorithm.others | kAlways;
  const auto stray = std::ranges::find_if(
      module.parts, [&](const Part& part) { return !contains(known, part.parameter); });
  if (stray != module.parts.end()) {
    result.refusal = Refusal{
        ProblemKind::incomplete,
        fmt::format(
            "'{}' is not part of {}, which '{}' is",
            stray->info->name,
            algorithm.title,
            module.name)};
  }
  return result;
}

}  // namespace

std::span<const Algorithm* const> algorithms() {
  return kAlgorithms;
}

Classified classify(const Module& module) {
  if (auto duplicate = find_duplicate(module)) return {nullptr, std::move(duplicate), "double"};
  for (const Algorithm* algorithm : kAlgorithms) {
    const bool is_meant = std::ranges::any_of(
        module.parts, [&](const Part& part) { return contains(algorithm->own, part.parameter); });
    if (is_meant) return classify_as(module, *algorithm);
  }
  return {.algorithm = &kDense, .title = kDense.title};
}

Built build(
    const Module& module, const Algorithm& algorithm, const FileContext& file, Notes& notes) {
  Builder builder{module, *module.place.target, file, notes};
  if (algorithm.build != nullptr) algorithm.build(builder);
  if (const auto* info = module.find(diff)) add_difference(builder, *info);
  if (const auto* info = module.find(bias_diff)) add_bias_difference(builder, *info, file.scale);
  const auto* new_weight = contains(algorithm.others, weight) ? nullptr : module.find(weight);
  if (new_weight != nullptr) add_replacement(builder, *new_weight);
  if (const auto* info = module.find(bias)) add_bias_replacement(builder, *info);
  if (builder.built.refusal) builder.built.updates.clear();
  return std::move(builder.built);
}

}  // namespace mflux::lora
