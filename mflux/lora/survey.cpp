// SPDX-License-Identifier: MIT
// The same way as load(), but without a model: what the module's name says stands for the layer,
// and shapes of pairs are those of the file. Every tensor is read, to find values that are not
// finite and factors that are all zero.
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

using safetensors::TensorInfo;

// Without a model only the ranks can tell.
bool is_transposed(const Contents& contents) {
  bool as_stored = false;
  bool transposed = false;
  for (const Module& module : contents.modules) {
    if (!is_pair(module)) continue;
    const bool fits = pair_rank(module, false).has_value();
    as_stored = as_stored || fits;
    transposed = transposed || (!fits && pair_rank(module, true).has_value());
  }
  return contents.other_order || (transposed && !as_stored);
}

// A file while its modules are looked at.
struct Surveyed {
  const Contents& contents;
  const FileContext& context;
  // As given, for messages.
  std::string path;
  Survey survey = {};
  Notes notes = {};

  void problem(ProblemKind kind, const std::string& module, std::string message) {
    survey.problems.push_back({0, kind, path, module, std::move(message)});
  }
  void problem(const std::string& module, std::optional<Refusal> refusal) {
    if (refusal) problem(refusal->kind, module, std::move(refusal->message));
  }
  bool is_zero(const TensorInfo& info) const {
    return is_float(info.spec.dtype) && all_zero(info, *contents.file);
  }
};

void add_refused(const StrayKey& key, Surveyed& file) {
  ++file.survey.keys["not understood"];
  const std::string& name = key.info->name;
  file.problem(
      ProblemKind::unknown_key,
      name,
      key.why.empty() ? fmt::format("'{}' is not a known key of a LoRA", name)
                      : fmt::format("'{}': {}", name, key.why));
}

void add_pair(const Module& module, SurveyedModule& surveyed, Surveyed& file) {
  const bool transposed = file.survey.transposed;
  const TensorSpec& down = module.find(Parameter::down)->spec;
  const TensorSpec& up = module.find(Parameter::up)->spec;
  const std::optional<uint64_t> rank = pair_rank(module, transposed);
  if (!rank) {
    file.problem(
        ProblemKind::rank_mismatch,
        module.name,
        fmt::format(
            "'{}': A {} and B {} have no common rank",
            module.name,
            to_string(down.shape),
            to_string(up.shape)));
    return;
  }
  surveyed.rank = *rank;
  surveyed.outputs = transposed ? up.row_elements() : up.rows();
  surveyed.inputs = transposed ? down.rows() : down.row_elements();
  Alpha alpha = find_alpha(module, *rank, file.context, file.notes);
  file.problem(module.name, std::move(alpha.refusal));
  surveyed.alpha = alpha.value;
  surveyed.alpha_source = alpha.source;
}

// A difference tells the shape as a pair does; of a bias alone there are only rows.
void add_dense(const Module& module, SurveyedModule& surveyed) {
  const TensorInfo* info = module.find(Parameter::diff);
  if (info == nullptr && module.find(Parameter::up) == nullptr) {
    info = module.find(Parameter::down);
  }
  if (info == nullptr || surveyed.outputs != 0 || info->spec.shape.empty()) return;
  surveyed.outputs = info->spec.rows();
  surveyed.inputs = info->spec.shape.size() == 1 ? 0 : info->spec.row_elements();
}

void add_product(const Module& module, SurveyedModule& surveyed) {
  for (const Algorithm* algorithm : algorithms()) {
    const auto size = algorithm->size_of == nullptr ? std::nullopt : algorithm->size_of(module);
    if (!size) continue;
    surveyed.outputs = size->outputs;
    surveyed.inputs = size->inputs;
  }
}

// Is one of the parts in the set what `is` asks.
template <typename Is>
bool any_of(const Module& module, Parameters set, const Is& is) {
  return std::ranges::any_of(
      module.parts, [&](const Part& part) { return contains(set, part.parameter) && is(part); });
}

// Trainers begin with a B of zeros: a layer that never learned still has one.
std::string why_dead(const Module& module, const SurveyedModule& surveyed, const Surveyed& file) {
  using enum Parameter;
  constexpr Parameters kAdds = set_of({diff, bias_diff, up_bias, magnitude});
  constexpr Parameters kPlain = set_of({diff, bias_diff});
  const auto is_zero = [&](const Part& part) { return file.is_zero(*part.info); };
  if (any_of(module, kAdds, [&](const Part& part) { return !is_zero(part); })) return "";
  for (const Algorithm* algorithm : algorithms()) {
    if (any_of(module, algorithm->factors, is_zero)) return "a factor is all zero";
  }
  if (!is_pair(module)) {
    const bool is_plain = std::ranges::all_of(
        module.parts, [](const Part& part) { return contains(kPlain, part.parameter); });
    return is_plain ? "the difference is all zero" : "";
  }
  if (surveyed.alpha_source == AlphaSource::tensor && surveyed.alpha == 0) return "alpha is 0";
  if (file.is_zero(*module.find(up))) return "B is all zero";
  if (file.is_zero(*module.find(down))) return "A is all zero";
  return "";
}

void add(const Module& module, Surveyed& file) {
  Classified classified = classify(module);
  SurveyedModule surveyed{
      .name = module.name,
      .component = module.place.component,
      .layer = module.place.name,
      .algorithm = std::string(classified.title)};
  const bool is_whole = !classified.refusal;
  file.problem(module.name, std::move(classified.refusal));
  for (const Part& part : module.parts) {
    ++file.survey.keys[std::string(parameter_name(part.parameter))];
    if (!holds_floats(part.parameter)) continue;
    file.problem(module.name, check_values(*part.info, *file.contents.file));
  }
  if (is_pair(module)) add_pair(module, surveyed, file);
  add_dense(module, surveyed);
  add_product(module, surveyed);
  if (is_whole) surveyed.dead = why_dead(module, surveyed, file);
  file.survey.modules.push_back(std::move(surveyed));
}

}  // namespace

Survey survey(const std::filesystem::path& path, Families families) {
  const BaseModel no_model{.families = families};
  const Names names(no_model);
  Contents contents = open_contents(path);
  const FileContext context{
      .model = no_model,
      .bytes = *contents.file,
      .metadata = contents.metadata,
      .sidecar = contents.sidecar};
  Surveyed file{contents, context, path.string()};
  if (contents.header.tensors.empty()) file.problem(ProblemKind::empty, "", "holds no tensors");
  if (contents.refusal) {
    file.problem("", contents.refusal);
    contents.modules.clear();
  }
  for (const std::string& message : contents.bad_metadata) {
    file.problem(ProblemKind::bad_metadata, "", message);
  }
  for (const StrayKey& key : contents.ignored) file.survey.ignored.push_back(key.info->name);
  for (const StrayKey& key : contents.refused) add_refused(key, file);
  for (Module& module : contents.modules) module.place = names.resolve(module.name);
  file.survey.dialect = dialect_of(contents.modules);
  file.survey.made_for = made_for(contents.header.metadata, contents.modules, families);
  file.survey.trainer = trainer_of(contents.header);
  file.survey.transposed = is_transposed(contents);
  for (const Module& module : contents.modules) add(module, file);
  file.survey.tensors = std::move(contents.header.tensors);
  file.survey.metadata = std::move(contents.header.metadata);
  return std::move(file.survey);
}

}  // namespace mflux::lora
