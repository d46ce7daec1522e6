// SPDX-License-Identifier: MIT
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/inspection.h"
#include "cli/sizes.h"
#include "cli/table.h"
#include "mflux/lora/family.h"

namespace mflux::cli {
namespace {

using Lines = std::vector<std::string>;

constexpr size_t kMaxValue = 100;  // characters of a metadata value that are shown

void add_table(const Table& table, Lines& lines) {
  for (std::string& line : table.lines()) lines.push_back("  " + std::move(line));
}

// Files come from anywhere: nothing in them may command the terminal.
std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return result;
}

// At most `bytes` of UTF-8, whole characters.
std::string_view beginning(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

template <typename Key>
std::string counts(const std::map<Key, size_t>& map) {
  std::vector<std::string> parts;
  for (const auto& [key, count] : map) parts.push_back(fmt::format("{} x{}", key, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string parameters(uint64_t count) {
  const auto value = static_cast<double>(count);
  if (value >= 1e9) return fmt::format("{:.2f} B", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} M", value / 1e6);
  return fmt::format("{}", count);
}

std::string quantization(const ComponentReport& report) {
  if (report.at_load) return fmt::format("{} bits at load", report.level);
  if (report.formats.empty()) return "none";
  return fmt::format(
      "{} (level {})", counts(report.formats), report.level.empty() ? "?" : report.level);
}

const Component* find_component(const ModelReport& report, const std::string& name) {
  for (const Component& component : report.checkpoint.components) {
    if (component.name == name) return &component;
  }
  return nullptr;
}

std::string headline(const Inspection& found) {
  const ModelReport& report = *found.model;
  const models::Family* family = report.checkpoint.family;
  std::string text = family == nullptr ? "Not a model this program knows"
                                       : std::string(models::family_title(*family));
  if (!report.variant.empty() && family != nullptr &&
      report.variant != models::family_name(*family)) {
    text += fmt::format(" ({})", report.variant);
  }
  if (family != nullptr) text += fmt::format(", {} names", naming_name(report.checkpoint.naming));
  if (report.checkpoint.single_file) text += ", one file";
  if (!report.saved_by.empty()) text += fmt::format(", saved by {}", report.saved_by);
  return fmt::format("{}, {}", text, format_size(found.bytes));
}

void add_components(const ModelReport& report, Lines& lines) {
  Table table(
      {"component",
       ">tensors",
       ">parameters",
       ">size",
       ">files",
       "dtypes",
       "quantization",
       "blocks"});
  for (const ComponentReport& component : report.components) {
    const Component* opened = find_component(report, component.name);
    table.add(
        {component.name.empty() ? "(file)" : component.name,
         std::to_string(component.tensors),
         parameters(component.parameters),
         format_size(component.bytes),
         opened == nullptr ? "" : std::to_string(opened->folder.files.size()),
         counts(component.dtypes),
         quantization(component),
         counts(component.blocks)});
  }
  add_table(table, lines);
  for (const ComponentReport& component : report.components) {
    if (!component.of_family) {
      lines.push_back(
          fmt::format("{}: the model has no such component; it is not read", component.name));
    }
    if (!component.problem.empty()) {
      lines.push_back(fmt::format("{} cannot be used: {}", component.name, component.problem));
    }
  }
}

void add_folders(const ModelReport& report, Lines& lines) {
  if (!report.missing.empty()) {
    lines.push_back(fmt::format("Missing components: {}", fmt::join(report.missing, ", ")));
  }
  std::vector<std::string> folders;
  for (const FolderReport& folder : report.folders) {
    folders.push_back(
        folder.files == 0 ? fmt::format("{} missing", folder.name)
                          : fmt::format("{} ({} files)", folder.name, folder.files));
  }
  if (!folders.empty()) lines.push_back(fmt::format("Beside them: {}", fmt::join(folders, ", ")));
}

void add_receipt(const ModelReport& report, Lines& lines) {
  if (!report.receipt_problem.empty()) lines.push_back("No receipt: " + report.receipt_problem);
  if (!report.receipt) return;
  lines.push_back(fmt::format(
      "bake.json: mflux.cpp {}, {}",
      report.receipt->program_version,
      report.receipt->loras.empty() ? "no LoRA baked" : "LoRAs baked:"));
  for (const LoraRecord& lora : report.receipt->loras) {
    lines.push_back(fmt::format(
        "  {} at scale {:g}: {} layers, {:.1f} % kept",
        lora.file.file,
        lora.scale,
        lora.layers,
        100 * lora.kept));
  }
}

void add_tensors(const ModelReport& report, Lines& lines) {
  Table table({"tensor", "dtype", "shape", "quantization", "file"});
  for (const Component& component : report.checkpoint.components) {
    for (const LogicalTensor& tensor : component.tensors) {
      table.add(
          {component.name.empty() ? tensor.name : fmt::format("{}/{}", component.name, tensor.name),
           tensor.format ? "U32" : std::string(dtype_name(tensor.spec.dtype)),
           to_string(tensor.spec.shape),
           tensor.format ? to_string(*tensor.format) : "",
           component.folder.files[tensor.file].name});
    }
  }
  add_table(table, lines);
}

void add_model(const Inspection& found, bool tensors, Lines& lines) {
  const ModelReport& report = *found.model;
  lines.push_back(headline(found));
  if (!report.unknown.empty()) lines.push_back(report.unknown);
  add_components(report, lines);
  add_folders(report, lines);
  add_receipt(report, lines);
  if (tensors) add_tensors(report, lines);
}

// ---- LoRAs

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
  lines.push_back(fmt::format(
      "LoRA, dialect {}, {}{}, {}",
      survey.dialect,
      survey.family.empty() ? "the file does not tell for which model"
                            : fmt::format("made for {}", lora::family_title(survey.family)),
      survey.family.empty() ? "" : (survey.by_metadata ? " (metadata)" : " (layer names)"),
      format_size(found.bytes)));
  if (!report.trainer.empty()) lines.push_back("Trainer: " + report.trainer);
  if (survey.transposed) lines.push_back("All matrices are stored transposed");
  lines.push_back("Keys:    " + counts(survey.keys));
  lines.push_back("Dtypes:  " + counts(dtypes));
  add_ranks_and_alphas(survey, lines);
  if (!survey.ignored.empty()) {
    lines.push_back(fmt::format("Ignored: {}", fmt::join(survey.ignored, ", ")));
  }
}

void add_metadata(const lora::Survey& survey, Lines& lines) {
  if (survey.metadata.empty()) return;
  lines.push_back("Metadata:");
  for (const auto& [key, value] : survey.metadata) {
    const bool is_long = value.size() > kMaxValue;
    lines.push_back(fmt::format(
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
      parts.push_back(
          fmt::format("{} of {} weights of {}", component.hit, component.of, component.component));
    }
    lines.push_back(fmt::format("On {} it changes {}", report.model, fmt::join(parts, ", ")));
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

void add_lora(const Inspection& found, Lines& lines) {
  const LoraReport& report = *found.lora;
  add_file(found, report, lines);
  add_metadata(report.survey, lines);
  add_coverage(report, lines);
  for (const std::string& note : report.notes) lines.push_back("Note: " + note);
  if (report.problems.empty()) return;
  lines.push_back(fmt::format("Problems: {}", report.problems.size()));
  for (const lora::Problem& problem : report.problems) {
    lines.push_back(fmt::format("  {} [{}]", problem.message, lora::problem_name(problem.kind)));
  }
}

}  // namespace

std::string_view naming_name(models::Naming naming) {
  switch (naming) {
    case models::Naming::diffusers:
      return "diffusers";
    case models::Naming::mflux:
      return "mflux";
    case models::Naming::original:
      return "original";
  }
  return "";
}

std::vector<std::string> text_lines(const Inspection& found, bool tensors) {
  Lines lines;
  if (found.model) add_model(found, tensors, lines);
  if (found.lora) add_lora(found, lines);
  for (std::string& line : lines) line = printable(line);
  return lines;
}

}  // namespace mflux::cli
