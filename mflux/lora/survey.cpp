// SPDX-License-Identifier: MIT
#include "mflux/lora/survey.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithms.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/alpha.h"
#include "mflux/lora/contents.h"
#include "mflux/lora/names.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

class Surveyor {
 public:
  Surveyor(const std::filesystem::path& path, Families families)
      : no_model_{.families = families},
        names_(no_model_),
        contents_(open_contents(path)),
        path_(path.string()) {}

  Survey run() {
    if (contents_.header.tensors.empty()) problem(ProblemKind::empty, "", "holds no tensors");
    if (contents_.refusal) {
      problem(contents_.refusal->kind, "", contents_.refusal->message);
      contents_.modules.clear();
    }
    for (const std::string& message : contents_.bad_metadata) {
      problem(ProblemKind::bad_metadata, "", message);
    }
    for (const StrayKey& key : contents_.ignored) survey_.ignored.push_back(key.info->name);
    for (const StrayKey& key : contents_.refused) add_refused(key);
    for (Module& module : contents_.modules) module.place = names_.resolve(module.name);
    survey_.dialect = dialect_of(contents_.modules);
    survey_.made_for = made_for(contents_.header.metadata, contents_.modules, no_model_.families);
    survey_.trainer = trainer_of(contents_.header);
    choose_order();
    for (const Module& module : contents_.modules) add(module);
    survey_.tensors = std::move(contents_.header.tensors);
    survey_.metadata = std::move(contents_.header.metadata);
    return std::move(survey_);
  }

 private:
  void problem(ProblemKind kind, const std::string& module, std::string message) {
    survey_.problems.push_back({0, kind, path_, module, std::move(message)});
  }

  void add_refused(const StrayKey& key) {
    ++survey_.keys["not understood"];
    const std::string& name = key.info->name;
    problem(
        ProblemKind::unknown_key,
        name,
        key.why.empty() ? fmt::format("'{}' is not a known key of a LoRA", name)
                        : fmt::format("'{}': {}", name, key.why));
  }

  // Without a model only the ranks can tell.
  void choose_order() {
    bool as_stored = false;
    bool transposed = false;
    for (const Module& module : contents_.modules) {
      if (!is_pair(module)) continue;
      const bool fits = pair_rank(module, false).has_value();
      as_stored = as_stored || fits;
      transposed = transposed || (!fits && pair_rank(module, true).has_value());
    }
    survey_.transposed = contents_.other_order || (transposed && !as_stored);
  }

  void add(const Module& module) {
    Classified classified = classify(module);
    SurveyedModule surveyed{
        .name = module.name,
        .component = module.place.component,
        .layer = module.place.name,
        .algorithm = std::string(classified.title)};
    if (classified.refusal) {
      problem(classified.refusal->kind, module.name, std::move(classified.refusal->message));
    }
    for (const Part& part : module.parts) {
      ++survey_.keys[std::string(parameter_name(part.parameter))];
      check(module, part);
    }
    if (is_pair(module)) add_pair(module, surveyed);
    add_dense(module, surveyed);
    add_product(module, surveyed);
    if (!classified.refusal) surveyed.dead = why_dead(module, surveyed);
    survey_.modules.push_back(std::move(surveyed));
  }

  // Every tensor but single numbers and shapes, which may be integers.
  void check(const Module& module, const Part& part) {
    if (!holds_floats(part.parameter)) return;
    if (auto refusal = check_values(*part.info, *contents_.file)) {
      problem(refusal->kind, module.name, std::move(refusal->message));
    }
  }

  void add_pair(const Module& module, SurveyedModule& surveyed) {
    const std::optional<uint64_t> rank = pair_rank(module, survey_.transposed);
    if (!rank) {
      const Shape& down = module.find(Parameter::down)->spec.shape;
      const Shape& up = module.find(Parameter::up)->spec.shape;
      problem(
          ProblemKind::rank_mismatch,
          module.name,
          fmt::format(
              "'{}': A {} and B {} have no common rank",
              module.name,
              to_string(down),
              to_string(up)));
      return;
    }
    surveyed.rank = *rank;
    const TensorSpec& down = module.find(Parameter::down)->spec;
    const TensorSpec& up = module.find(Parameter::up)->spec;
    surveyed.outputs = survey_.transposed ? up.row_elements() : up.rows();
    surveyed.inputs = survey_.transposed ? down.rows() : down.row_elements();
    const FileContext file{
        .model = no_model_,
        .bytes = *contents_.file,
        .metadata = contents_.metadata,
        .sidecar = contents_.sidecar};
    Alpha alpha = find_alpha(module, *rank, file, notes_);
    if (alpha.refusal) {
      problem(alpha.refusal->kind, module.name, std::move(alpha.refusal->message));
    }
    surveyed.alpha = alpha.value;
    surveyed.alpha_source = alpha.source;
  }

  // A difference tells the shape as a pair does; of a bias alone there are only rows.
  void add_dense(const Module& module, SurveyedModule& surveyed) const {
    const auto* info = module.find(Parameter::diff);
    if (info == nullptr && module.find(Parameter::up) == nullptr)
      info = module.find(Parameter::down);
    if (info == nullptr || surveyed.outputs != 0 || info->spec.shape.empty()) return;
    surveyed.outputs = info->spec.rows();
    surveyed.inputs = info->spec.shape.size() == 1 ? 0 : info->spec.row_elements();
  }

  static void add_product(const Module& module, SurveyedModule& surveyed) {
    for (const Algorithm* algorithm : algorithms()) {
      const auto size = algorithm->size_of == nullptr ? std::nullopt : algorithm->size_of(module);
      if (!size) continue;
      surveyed.outputs = size->outputs;
      surveyed.inputs = size->inputs;
    }
  }

  // Trainers begin with a B of zeros: a layer that never learned still has one.
  std::string why_dead(const Module& module, const SurveyedModule& surveyed) const {
    using enum Parameter;
    constexpr Parameters kAdds = set_of({diff, bias_diff, up_bias, magnitude});
    constexpr Parameters kPlain = set_of({diff, bias_diff});
    if (any_of(module, kAdds, [&](const Part& part) { return !is_zero(*part.info); })) return "";
    for (const Algorithm* algorithm : algorithms()) {
      const bool has_zero =
          any_of(module, algorithm->factors, [&](const Part& part) { return is_zero(*part.info); });
      if (has_zero) return "a factor is all zero";
    }
    if (!is_pair(module)) {
      const bool is_plain = std::ranges::all_of(
          module.parts, [](const Part& part) { return contains(kPlain, part.parameter); });
      return is_plain ? "the difference is all zero" : "";
    }
    if (surveyed.alpha_source == AlphaSource::tensor && surveyed.alpha == 0) return "alpha is 0";
    if (is_zero(*module.find(up))) return "B is all zero";
    if (is_zero(*module.find(down))) return "A is all zero";
    return "";
  }

  // Is one of the parts in the set what `is` asks.
  template <typename Is>
  static bool any_of(const Module& module, Parameters set, const Is& is) {
    return std::ranges::any_of(
        module.parts, [&](const Part& part) { return contains(set, part.parameter) && is(part); });
  }

  bool is_zero(const safetensors::TensorInfo& info) const {
    if (!is_float(info.spec.dtype)) return false;
    return all_zero(info, *contents_.file);
  }

  const BaseModel no_model_;
  Names names_;
  Contents contents_;
  std::string path_;
  Notes notes_;
  Survey survey_;
};

}  // namespace

Survey survey(const std::filesystem::path& file, Families families) {
  return Surveyor(file, families).run();
}

}  // namespace mflux::lora
