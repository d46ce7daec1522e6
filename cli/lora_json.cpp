// SPDX-License-Identifier: MIT
// The LoRA doctor's findings for programs.
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/inspection.h"

namespace mflux::cli {
namespace {

using Json = nlohmann::ordered_json;

Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

void add(std::vector<std::string>& lines, const Json& json) {
  lines.push_back(json_text(json));
}

std::string_view fit_name(Fit fit) {
  switch (fit) {
    case Fit::fits:
      return "fits";
    case Fit::fits_not:
      return "fits not";
    case Fit::nothing:
      return "changes nothing";
    case Fit::untold:
      break;
  }
  return "unknown";
}

Json summary(const Inspection& found) {
  const LoraReport& report = *found.lora;
  const lora::Survey& survey = report.survey;
  std::map<std::string, size_t> ranks;
  std::map<std::string, size_t> dtypes;
  for (const lora::SurveyedModule& module : survey.modules) {
    if (module.rank != 0) ++ranks[std::to_string(module.rank)];
  }
  for (const auto& tensor : survey.tensors) ++dtypes[std::string(dtype_name(tensor.spec.dtype))];
  return {
      {"event", "lora"},
      {"path", found.path.string()},
      {"bytes", found.bytes},
      {"fit", fit_name(report.fit)},
      {"verdict", report.verdict},
      {"dialect", survey.dialect},
      {"family", or_null(std::string(survey.made_for.name))},
      {"family_by",
       survey.made_for.name.empty() ? Json()
                                    : Json(survey.made_for.by_metadata ? "metadata" : "names")},
      {"trainer", or_null(survey.trainer.name)},
      {"trainer_by", or_null(survey.trainer.by)},
      {"transposed", survey.transposed},
      {"tensors", survey.tensors.size()},
      {"modules", survey.modules.size()},
      {"dtypes", dtypes},
      {"keys", survey.keys},
      {"ignored", survey.ignored},
      {"ranks", ranks},
      {"dead", report.dead.size()},
      {"duplicates", report.duplicates.size()},
      {"problems", report.problems.size()},
      {"model", or_null(report.model)},
      {"stand_in", or_null(report.stand_in)},
      {"notes", report.notes},
      {"metadata", survey.metadata}};
}

void add_modules(const LoraReport& report, std::vector<std::string>& lines) {
  for (const lora::SurveyedModule& module : report.survey.modules) {
    const bool pair = module.rank != 0;
    add(lines,
        {{"event", "module"},
         {"name", module.name},
         {"component", module.component},
         {"layer", module.layer},
         {"algorithm", module.algorithm},
         {"rank", pair ? Json(module.rank) : Json()},
         {"alpha", pair ? Json(module.alpha) : Json()},
         {"alpha_source", pair ? Json(lora::alpha_source_name(module.alpha_source)) : Json()}});
  }
}

void add_lora_coverage(const LoraReport& report, std::vector<std::string>& lines) {
  const auto of = [&](size_t count) { return report.model.empty() ? Json() : Json(count); };
  for (const ComponentCoverage& component : report.components) {
    add(lines,
        {{"event", "component coverage"},
         {"component", component.component},
         {"hit", component.hit},
         {"of", component.of}});
  }
  for (const LayerCoverage& layer : report.layers) {
    add(lines,
        {{"event", "coverage"},
         {"component", layer.component},
         {"layer", layer.layer},
         {"hit", layer.hit},
         {"of", of(layer.of)},
         {"blocks", layer.blocks}});
  }
  for (const BlockCoverage& block : report.blocks) {
    add(lines,
        {{"event", "block coverage"},
         {"component", block.component},
         {"blocks", or_null(block.blocks)},
         {"block", block.blocks.empty() ? Json() : Json(block.block)},
         {"hit", block.hit},
         {"of", of(block.of)}});
  }
}

void add_findings(const LoraReport& report, std::vector<std::string>& lines) {
  for (const DeadModule& dead : report.dead) {
    add(lines, {{"event", "dead"}, {"module", dead.module}, {"reason", dead.why}});
  }
  for (const DuplicateModules& duplicate : report.duplicates) {
    add(lines,
        {{"event", "duplicate"}, {"layer", duplicate.layer}, {"modules", duplicate.modules}});
  }
  for (const ExpectedKept& kept : report.kept) {
    add(lines,
        {{"event", "kept"},
         {"bits", kept.bits},
         {"kept", kept.kept},
         {"relative_error", kept.relative_error},
         {"sampled_rows", kSampledRows}});
    for (const LayerKept& layer : kept.layers) {
      add(lines,
          {{"event", "kept layer"},
           {"bits", kept.bits},
           {"tensor", layer.tensor},
           {"stored", layer.stored},
           {"kept", layer.kept},
           {"relative_error", layer.relative_error}});
    }
  }
  for (const lora::Problem& problem : report.problems) {
    add(lines,
        {{"event", "problem"},
         {"kind", lora::problem_name(problem.kind)},
         {"module", or_null(problem.module)},
         {"message", problem.message}});
  }
}

}  // namespace

void add_lora_json(const Inspection& found, std::vector<std::string>& lines) {
  add(lines, summary(found));
  add_modules(*found.lora, lines);
  add_lora_coverage(*found.lora, lines);
  add_findings(*found.lora, lines);
}

}  // namespace mflux::cli
