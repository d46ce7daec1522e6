// SPDX-License-Identifier: MIT
#include "mflux/lora/module.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include <fmt/format.h>

namespace mflux::lora {
namespace {

using enum Parameter;

using Parameters = uint64_t;  // a set, a bit each

constexpr Parameters set_of(std::initializer_list<Parameter> list) {
  Parameters set = 0;
  for (const Parameter parameter : list) set |= Parameters{1} << static_cast<uint8_t>(parameter);
  return set;
}

constexpr bool contains(Parameters set, Parameter parameter) {
  return (set & set_of({parameter})) != 0;
}

// An algorithm is recognised by any of its own parameters, and may stand next to some others.
struct Recipe {
  Algorithm algorithm;
  std::string_view title;
  std::string_view needs;  // for people
  Parameters own;
  Parameters others;
};

// Tried in this order. `diff`, `bias_diff`, `weight` and `bias` may always be there.
constexpr std::array kRecipes = {
    Recipe{
        Algorithm::loha,
        "LoHa",
        "hada_w1_a, hada_w1_b, hada_w2_a and hada_w2_b",
        set_of({hada_w1_a, hada_w1_b, hada_w2_a, hada_w2_b, hada_t1, hada_t2}),
        set_of({alpha, magnitude})},
    Recipe{
        Algorithm::lokr,
        "LoKr",
        "each of lokr_w1 and lokr_w2, whole or as lokr_..._a and lokr_..._b",
        set_of({lokr_w1, lokr_w1_a, lokr_w1_b, lokr_w2, lokr_w2_a, lokr_w2_b, lokr_t2}),
        set_of({alpha, magnitude})},
    Recipe{
        Algorithm::input_oft,
        "OFT of inputs",
        "oft_R",
        set_of({oft_matrix, oft_scaled}),
        set_of({})},
    Recipe{Algorithm::oft, "OFT", "oft_blocks", set_of({oft_blocks, rescale}), set_of({alpha})},
    Recipe{
        Algorithm::glora,
        "GLoRA",
        "a1, a2, b1 and b2",
        set_of({glora_a1, glora_a2, glora_b1, glora_b2, glora_core}),
        set_of({alpha})},
    Recipe{Algorithm::ia3, "IA3", "weight and on_input", set_of({on_input}), set_of({})},
    Recipe{
        Algorithm::low_rank,
        "LoRA",
        "A and B",
        set_of({up, core, magnitude, up_bias, alpha, shape}),
        set_of({down, up, core, magnitude, up_bias, alpha, shape})},
};
constexpr Parameters kAlways = set_of({diff, bias_diff, weight, bias});

Classified incomplete(const Module& module, std::string_view missing) {
  std::string message = fmt::format("'{}' has only {}: {}", module.name, module.keys(), missing);
  return {Algorithm::dense, Refusal{ProblemKind::incomplete, std::move(message)}, "incomplete"};
}

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

}  // namespace

const safetensors::TensorInfo* Module::find(Parameter parameter) const {
  const auto found = std::ranges::find(parts, parameter, &Part::parameter);
  return found == parts.end() ? nullptr : found->info;
}

std::string Module::keys() const {
  constexpr size_t kMostShown = 16;  // more than any algorithm has; each key's record repeats it
  std::string keys;
  for (const Part& part : std::span(parts).first(std::min(parts.size(), kMostShown))) {
    if (!keys.empty()) keys += ", ";
    keys += part.info->name;
  }
  if (parts.size() > kMostShown) keys += fmt::format(" and {} more", parts.size() - kMostShown);
  return keys;
}

namespace {

bool is_complete(const Module& module, Algorithm algorithm) {
  const auto has = [&](Parameter parameter) { return module.find(parameter) != nullptr; };
  const auto has_factor = [&](Parameter whole, Parameter left, Parameter right) {
    return has(whole) ? !has(left) && !has(right) : has(left) && has(right);
  };
  switch (algorithm) {
    case Algorithm::loha:
      return has(hada_w1_a) && has(hada_w1_b) && has(hada_w2_a) && has(hada_w2_b) &&
             has(hada_t1) == has(hada_t2);
    case Algorithm::lokr:
      return has_factor(lokr_w1, lokr_w1_a, lokr_w1_b) &&
             has_factor(lokr_w2, lokr_w2_a, lokr_w2_b) && (!has(lokr_t2) || has(lokr_w2_a));
    case Algorithm::input_oft:
      return has(oft_matrix);
    case Algorithm::oft:
      return has(oft_blocks);
    case Algorithm::glora:
      return has(glora_a1) && has(glora_a2) && has(glora_b1) && has(glora_b2);
    case Algorithm::ia3:
      return has(weight);
    case Algorithm::low_rank:
      return has(down) && has(up);
    case Algorithm::full:
    case Algorithm::dense:
      return true;
  }
  return true;
}

// What is missing of a pair, in the words of its dialects.
std::string_view missing_of_pair(const Module& module) {
  if (module.find(up) != nullptr) return "the matrix A (lora_A, lora_down) is missing";
  if (module.find(down) != nullptr) return "the matrix B (lora_B, lora_up) is missing";
  if (module.find(magnitude) != nullptr) return "a magnitude needs matrices";
  return "the matrices A and B are missing";
}

std::string_view title_of(const Module& module, const Recipe& recipe) {
  if (module.find(magnitude) != nullptr) {
    if (recipe.algorithm == Algorithm::loha) return "LoHa + DoRA";
    if (recipe.algorithm == Algorithm::lokr) return "LoKr + DoRA";
    return "DoRA";
  }
  if (module.find(core) != nullptr) return "LoCon";
  const auto* blocks = module.find(oft_blocks);
  return blocks != nullptr && blocks->spec.shape.size() == 4 ? "BOFT" : recipe.title;
}

Classified classify_by(const Module& module, const Recipe& recipe) {
  if (!is_complete(module, recipe.algorithm)) {
    if (recipe.algorithm == Algorithm::low_rank) {
      return incomplete(module, missing_of_pair(module));
    }
    if (recipe.algorithm == Algorithm::oft) return incomplete(module, "OFT's blocks are missing");
    return incomplete(module, fmt::format("{} needs {}", recipe.title, recipe.needs));
  }
  for (const Part& part : module.parts) {
    if (contains(recipe.own, part.parameter) || contains(recipe.others, part.parameter) ||
        contains(kAlways, part.parameter)) {
      continue;
    }
    std::string message = fmt::format(
        "'{}' is not part of {}, which '{}' is", part.info->name, recipe.title, module.name);
    return {
        recipe.algorithm,
        Refusal{ProblemKind::incomplete, std::move(message)},
        title_of(module, recipe)};
  }
  return {.algorithm = recipe.algorithm, .title = title_of(module, recipe)};
}

}  // namespace

Classified classify(const Module& module) {
  if (auto duplicate = find_duplicate(module)) {
    return {Algorithm::dense, std::move(duplicate), "double"};
  }
  for (const Recipe& recipe : kRecipes) {
    const bool is_meant = std::ranges::any_of(
        module.parts, [&](const Part& part) { return contains(recipe.own, part.parameter); });
    if (is_meant) return classify_by(module, recipe);
  }
  if (module.find(down) != nullptr) {
    if (module.find(diff) != nullptr) return incomplete(module, missing_of_pair(module));
    return {.algorithm = Algorithm::full, .title = "full matrix"};
  }
  const bool is_new = module.find(weight) != nullptr || module.find(bias) != nullptr;
  return {.algorithm = Algorithm::dense, .title = is_new ? "replacement" : "difference"};
}

}  // namespace mflux::lora
