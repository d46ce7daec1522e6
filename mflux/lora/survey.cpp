// SPDX-License-Identifier: MIT
#include "mflux/lora/survey.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/build.h"
#include "mflux/lora/contents.h"
#include "mflux/lora/names.h"
#include "mflux/lora/values.h"

namespace mflux::lora {
namespace {

class Surveyor {
 public:
  explicit Surveyor(const std::filesystem::path& path)
      : names_(no_model_), contents_(open_contents(path)), path_(path.string()) {}

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
    const auto [family, by_metadata] = made_for(contents_.header.metadata, contents_.modules);
    survey_.family = family;
    survey_.by_metadata = by_metadata;
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

  static bool is_pair(const Module& module) {
    return module.find(Parameter::down) != nullptr && module.find(Parameter::up) != nullptr &&
           module.find(Parameter::core) == nullptr;
  }

  // Without a model only the ranks can tell.
  void choose_order() {
    bool as_stored = false;
    bool transposed = false;
    for (const Module& module : contents_.modules) {
      if (!is_pair(module)) continue;
      const bool fits = rank_of(module, false).has_value();
      as_stored = as_stored || fits;
      transposed = transposed || (!fits && rank_of(module, true).has_value());
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
    if (part.parameter == Parameter::alpha || part.parameter == Parameter::shape ||
        part.parameter == Parameter::on_input || part.parameter == Parameter::oft_scaled) {
      return;
    }
    if (auto refusal = check_values(*part.info, *contents_.file)) {
      problem(refusal->kind, module.name, std::move(refusal->message));
    }
  }

  void add_pair(const Module& module, SurveyedModule& surveyed) {
    const std::optional<uint64_t> rank = rank_of(module, survey_.transposed);
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

  // Factors of LoHa and LoKr tell the shape of their product; with a core theirs is another.
  static void add_product(const Module& module, SurveyedModule& surveyed) {
    const auto* left = module.find(Parameter::hada_w1_a);
    const auto* right = module.find(Parameter::hada_w1_b);
    if (left != nullptr && right != nullptr && module.find(Parameter::hada_t1) == nullptr) {
      surveyed.outputs = left->spec.rows();
      surveyed.inputs = right->spec.row_elements();
    }
    using enum Parameter;
    const auto first = factor_size(module, lokr_w1, lokr_w1_a, lokr_w1_b);
    const auto second = factor_size(module, lokr_w2, lokr_w2_a, lokr_w2_b);
    if (first && second && module.find(lokr_t2) == nullptr) {
      surveyed.outputs = first->first * second->first;
      surveyed.inputs = first->second * second->second;
    }
  }

  // Rows and columns of a factor that is whole or itself a product.
  static std::optional<std::pair<uint64_t, uint64_t>> factor_size(
      const Module& module, Parameter whole, Parameter left, Parameter right) {
    if (const auto* info = module.find(whole)) {
      return std::pair(info->spec.rows(), info->spec.row_elements());
    }
    const auto* a = module.find(left);
    const auto* b = module.find(right);
    if (a == nullptr || b == nullptr) return std::nullopt;
    return std::pair(a->spec.rows(), b->spec.row_elements());
  }

  // Trainers begin with a B of zeros: a layer that never learned still has one.
  std::string why_dead(const Module& module, const SurveyedModule& surveyed) const {
    const bool has_pair = is_pair(module);
    for (const Part& part : module.parts) {
      const bool adds =
          part.parameter == Parameter::diff || part.parameter == Parameter::bias_diff ||
          part.parameter == Parameter::up_bias || part.parameter == Parameter::magnitude;
      if (adds && !is_zero(*part.info)) return "";
    }
    for (const Part& part : module.parts) {
      const bool is_factor =
          (part.parameter >= Parameter::hada_w1_a && part.parameter <= Parameter::hada_w2_b) ||
          (part.parameter >= Parameter::lokr_w1 && part.parameter <= Parameter::lokr_w2_b);
      if (is_factor && is_zero(*part.info)) return "a factor is all zero";
    }
    if (!has_pair) {
      const bool is_plain = std::ranges::all_of(module.parts, [](const Part& part) {
        return part.parameter == Parameter::diff || part.parameter == Parameter::bias_diff;
      });
      return is_plain ? "the difference is all zero" : "";
    }
    if (surveyed.alpha_source == AlphaSource::tensor && surveyed.alpha == 0) return "alpha is 0";
    if (is_zero(*module.find(Parameter::up))) return "B is all zero";
    if (is_zero(*module.find(Parameter::down))) return "A is all zero";
    return "";
  }

  bool is_zero(const safetensors::TensorInfo& info) const {
    if (!is_float(info.spec.dtype)) return false;
    return all_zero(info, *contents_.file);
  }

  const BaseModel no_model_ = {};
  Names names_;
  Contents contents_;
  std::string path_;
  Notes notes_;
  Survey survey_;
};

}  // namespace

Survey survey(const std::filesystem::path& file) {
  return Surveyor(file).run();
}

}  // namespace mflux::lora
