// SPDX-License-Identifier: MIT
// The LoRA doctor's page: the verdict, then what led to it.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/inspection.h"
#include "cli/lines.h"
#include "cli/sizes.h"
#include "cli/table.h"
#include "mflux/base/printable.h"

namespace mflux::cli {
namespace {

constexpr size_t kMaxValue = 100;  // characters of a metadata value that are shown
constexpr size_t kMaxNamed = 5;    // modules that are named where there may be hundreds

void add_ranks_and_alphas(const lora::Survey& survey, Lines& lines) {
  std::map<std::string, size_t> algorithms;
  std::map<uint64_t, size_t> ranks;
  std::map<std::string, size_t> alphas;
  for (const lora::SurveyedModule& module : survey.modules) {
    ++algorithms[module.algorithm];
    if (module.rank == 0) continue;
    ++ranks[module.rank];
    ++alphas
        [module.alpha_source == lora::AlphaSource::none
             ? "not stated (alpha = rank)"
             : fmt::format(
                   "{:g} ({})", module.alpha, lora::alpha_source_name(module.alpha_source))];
  }
  if (!algorithms.empty()) lines.push_back("Modules: " + counts(algorithms));
  if (!ranks.empty()) lines.push_back("Ranks:   " + counts(ranks));
  if (!alphas.empty()) lines.push_back("Alphas:  " + counts(alphas));
}

void add_file(const Inspection& found, const LoraReport& report, Lines& lines) {
  const lora::Survey& survey = report.survey;
  std::map<std::string, size_t> dtypes;
  for (const auto& tensor : survey.tensors) ++dtypes[std::string(dtype_name(tensor.spec.dtype))];
  lines.push_back(format_printable(
      "LoRA, dialect {}, {}{}, {}",
      survey.dialect,
      survey.made_for.name.empty() ? "the file does not tell for which model"
                                   : fmt::format("made for {}", survey.made_for.title),
      survey.made_for.name.empty()
          ? ""
          : (survey.made_for.by_metadata ? " (metadata)" : " (layer names)"),
      format_size(found.bytes)));
  const lora::Trainer& trainer = survey.trainer;
  if (!trainer.name.empty()) {
    lines.push_back(format_printable("Trainer: {} (by {})", trainer.name, trainer.by));
  }
  if (survey.transposed) lines.push_back("All matrices are stored transposed");
  lines.push_back("Keys:    " + counts(survey.keys));
  lines.push_back("Dtypes:  " + counts(dtypes));
  add_ranks_and_alphas(survey, lines);
  if (!survey.ignored.empty()) {
    lines.push_back(format_printable("Ignored: {}", fmt::join(survey.ignored, ", ")));
  }
}

void add_metadata(const lora::Survey& survey, Lines& lines) {
  if (survey.metadata.empty()) return;
  lines.push_back("Metadata:");
  for (const auto& [key, value] : survey.metadata) {
    const bool is_long = value.size() > kMaxValue;
    lines.push_back(format_printable(
        "  {}: {}{}",
        key,
        beginning(value, kMaxValue),
        is_long ? fmt::format("... ({} bytes)", value.size()) : ""));
  }
}

void add_coverage(const LoraReport& report, Lines& lines) {
  if (!report.model.empty()) {
    std::vector<std::string> parts;
    for (const ComponentCoverage& component : report.components) {
      if (component.hit == 0 && component.component != "transformer") continue;
      parts.push_back(format_printable(
          "{} of {} weights of {}", component.hit, component.of, component.component));
    }
    lines.push_back(format_printable("On {} it changes {}", report.model, fmt::join(parts, ", ")));
  }
  if (report.layers.empty()) return;
  Table table({"component", "layer", report.model.empty() ? ">modules" : ">hit", "blocks"});
  for (const LayerCoverage& layer : report.layers) {
    table.add(
        {layer.component,
         layer.layer,
         report.model.empty() ? std::to_string(layer.hit)
                              : fmt::format("{}/{}", layer.hit, layer.of),
         format_ranges(layer.blocks)});
  }
  add_table(table, lines);
}

// Blocks with equally many layers hit are one line.
void add_blocks(const LoraReport& report, Lines& lines) {
  if (report.blocks.empty()) return;
  struct Row {
    const BlockCoverage* first = nullptr;
    std::vector<uint64_t> blocks = {};
  };
  std::vector<Row> rows;
  for (const BlockCoverage& block : report.blocks) {
    const auto same = std::ranges::find_if(rows, [&](const Row& row) {
      return row.first->component == block.component && row.first->blocks == block.blocks &&
             row.first->hit == block.hit && row.first->of == block.of;
    });
    if (same == rows.end()) {
      rows.push_back({&block, {block.block}});
    } else {
      same->blocks.push_back(block.block);
    }
  }
  const bool is_tried = !report.model.empty();
  Table table({"component", "blocks", "which", is_tried ? ">layers hit" : ">modules"});
  for (const Row& row : rows) {
    table.add(
        {row.first->component,
         row.first->blocks.empty() ? "(outside)" : row.first->blocks,
         row.first->blocks.empty() ? "" : format_ranges(row.blocks),
         is_tried ? fmt::format("{}/{}", row.first->hit, row.first->of)
                  : std::to_string(row.first->hit)});
  }
  add_table(table, lines);
}

std::string share(double kept) {
  return is_noise(kept) ? "noise" : fmt::format("{:.2f} %", 100 * kept);
}

void add_kept(const LoraReport& report, bool verbose, Lines& lines) {
  if (report.kept.empty()) return;
  std::vector<std::string> parts;
  for (const ExpectedKept& kept : report.kept) {
    parts.push_back(fmt::format("{} at {} bits", share(kept.kept), kept.bits));
  }
  lines.push_back(format_printable(
      "Expected to survive rounding: {} (from {} rows of each weight)",
      fmt::join(parts, ", "),
      kSampledRows));
  if (!verbose) return;
  std::vector<std::string> titles = {"weight"};
  for (const ExpectedKept& kept : report.kept) titles.push_back(fmt::format(">{} bits", kept.bits));
  Table table({titles.begin(), titles.end()});
  for (size_t i = 0; i < report.kept.front().layers.size(); ++i) {
    std::vector<std::string> row = {report.kept.front().layers[i].tensor};
    for (const ExpectedKept& kept : report.kept) {
      row.push_back(share(kept.layers[i].kept));
    }
    table.add(row);
  }
  add_table(table, lines);
}

void add_dead(const LoraReport& report, bool verbose, Lines& lines) {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const DeadModule& dead : report.dead) by_reason[dead.why].push_back(dead.module);
  for (auto& [why, modules] : by_reason) {
    const size_t count = modules.size();
    if (!verbose && count > kMaxNamed) {
      modules.resize(kMaxNamed);
      modules.push_back(fmt::format("and {} more (-v lists them)", count - kMaxNamed));
    }
    lines.push_back(
        format_printable("Dead ({}): {} module(s): {}", why, count, fmt::join(modules, ", ")));
  }
}

void add_duplicates(const LoraReport& report, Lines& lines) {
  for (const DuplicateModules& duplicate : report.duplicates) {
    lines.push_back(format_printable(
        "Double: {} is changed by {}; all are added",
        duplicate.layer,
        fmt::join(duplicate.modules, " and ")));
  }
}

std::string_view fit_word(Fit fit) {
  switch (fit) {
    case Fit::fits:
    case Fit::nothing:
      return "OK";
    case Fit::fits_not:
      return "NOT OK";
    case Fit::untold:
      break;
  }
  return "UNKNOWN";
}

}  // namespace

void add_lora_text(const Inspection& found, bool verbose, std::vector<std::string>& lines) {
  const LoraReport& report = *found.lora;
  lines.push_back(format_printable("{}: {}", fit_word(report.fit), report.verdict));
  add_file(found, report, lines);
  add_kept(report, verbose, lines);
  add_dead(report, verbose, lines);
  add_duplicates(report, lines);
  add_metadata(report.survey, lines);
  add_coverage(report, lines);
  add_blocks(report, lines);
  for (const std::string& note : report.notes) lines.push_back(format_printable("Note: {}", note));
  if (report.problems.empty()) return;
  lines.push_back(fmt::format("Problems: {}", report.problems.size()));
  for (const lora::Problem& problem : report.problems) {
    lines.push_back(
        format_printable("  {} [{}]", problem.message, lora::problem_name(problem.kind)));
  }
}

}  // namespace mflux::cli
