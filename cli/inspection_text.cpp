// SPDX-License-Identifier: MIT
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/inspection.h"
#include "cli/lines.h"
#include "cli/sizes.h"
#include "cli/table.h"
#include "mflux/base/printable.h"

namespace mflux::cli {
namespace {

std::string parameters(uint64_t count) {
  const auto value = static_cast<double>(count);
  if (value >= 1e9) return fmt::format("{:.2f} B", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} M", value / 1e6);
  return fmt::format("{}", count);
}

std::string quantization(const ComponentReport& report) {
  if (report.at_load) return format_printable("{} bits at load", report.level);
  if (report.formats.empty()) return "none";
  return format_printable(
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
    text += format_printable(" ({})", report.variant);
  }
  if (family != nullptr) text += fmt::format(", {} names", naming_name(report.checkpoint.naming));
  if (report.checkpoint.single_file) text += ", one file";
  if (!report.saved_by.empty()) text += format_printable(", saved by {}", report.saved_by);
  return format_printable("{}, {}", text, format_size(found.bytes));
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
          format_printable("{}: the model has no such component; it is not read", component.name));
    }
    if (!component.problem.empty()) {
      lines.push_back(
          format_printable("{} cannot be used: {}", component.name, Shown{component.problem}));
    }
  }
}

void add_folders(const ModelReport& report, Lines& lines) {
  if (!report.missing.empty()) {
    lines.push_back(format_printable("Missing components: {}", fmt::join(report.missing, ", ")));
  }
  std::vector<std::string> folders;
  for (const FolderReport& folder : report.folders) {
    folders.push_back(
        folder.files == 0 ? format_printable("{} missing", folder.name)
                          : format_printable("{} ({} files)", folder.name, folder.files));
  }
  if (!folders.empty())
    lines.push_back(format_printable("Also there: {}", fmt::join(folders, ", ")));
}

void add_receipt(const ModelReport& report, Lines& lines) {
  if (!report.receipt_problem.empty())
    lines.push_back(format_printable("No receipt: {}", Shown{report.receipt_problem}));
  if (!report.receipt) return;
  lines.push_back(format_printable(
      "bake.json: mflux.cpp {}, {}",
      report.receipt->program_version,
      report.receipt->loras.empty() ? "no LoRA baked" : "LoRAs baked:"));
  for (const LoraRecord& lora : report.receipt->loras) {
    lines.push_back(format_printable(
        "  {} at scale {:g}: {} layers, {}",
        lora.file.file,
        lora.scale,
        lora.layers,
        is_noise(lora.kept) ? "lost in the noise of rounding"
                            : fmt::format("{:.1f} % kept", 100 * lora.kept)));
  }
}

void add_tensors(const ModelReport& report, Lines& lines) {
  Table table({"tensor", "dtype", "shape", "quantization", "file"});
  for (const Component& component : report.checkpoint.components) {
    for (const LogicalTensor& tensor : component.tensors) {
      table.add(
          {component.name.empty() ? tensor.name
                                  : format_printable("{}/{}", component.name, tensor.name),
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

std::vector<std::string> text_lines(const Inspection& found, const TextOptions& options) {
  Lines lines;
  if (found.model) add_model(found, options.tensors, lines);
  if (found.lora) add_lora_text(found, options.verbose, lines);
  return lines;
}

}  // namespace mflux::cli
