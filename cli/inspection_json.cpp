// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "cli/console.h"
#include "cli/inspection.h"

namespace mflux::cli {
namespace {

using Json = nlohmann::ordered_json;

Json string_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json to_json(const Receipt& receipt) {
  Json loras = Json::array();
  for (const LoraRecord& lora : receipt.loras) {
    loras.push_back(
        {{"file", lora.file.file},
         {"scale", lora.scale},
         {"layers", lora.layers},
         {"kept", lora.kept}});
  }
  return {{"program_version", receipt.program_version}, {"loras", loras}};
}

Json to_json(const Inspection& found, const ModelReport& report) {
  const models::Family* family = report.checkpoint.family;
  Json folders = Json::object();
  for (const FolderReport& folder : report.folders) folders[folder.name] = folder.files;
  Json json = {
      {"event", "model"},
      {"path", found.path.string()},
      {"bytes", found.bytes},
      {"family", family == nullptr ? Json() : Json(models::family_name(*family))},
      {"title", family == nullptr ? Json() : Json(models::family_title(*family))},
      {"variant", string_or_null(report.variant)},
      {"naming", family == nullptr ? Json() : Json(naming_name(report.checkpoint.naming))},
      {"single_file", report.checkpoint.single_file},
      {"saved_by", string_or_null(report.saved_by)},
      {"unknown", string_or_null(report.unknown)},
      {"missing", report.missing},
      {"folders", folders},
      {"receipt", report.receipt ? to_json(*report.receipt) : Json()}};
  if (!report.receipt_problem.empty()) json["receipt_problem"] = report.receipt_problem;
  return json;
}

Json to_json(const Component& component, const LogicalTensor& tensor) {
  return {
      {"event", "tensor"},
      {"component", component.name},
      {"name", tensor.name},
      {"dtype", tensor.format ? "U32" : dtype_name(tensor.spec.dtype)},
      {"shape", tensor.spec.shape},
      {"quantization", tensor.format ? Json(to_string(*tensor.format)) : Json()},
      {"file", component.folder.files[tensor.file].name}};
}

Json to_json(const ComponentReport& report) {
  return {
      {"event", "component"},
      {"name", report.name},
      {"of_family", report.of_family},
      {"tensors", report.tensors},
      {"parameters", report.parameters},
      {"bytes", report.bytes},
      {"dtypes", report.dtypes},
      {"quantization", report.formats},
      {"quantization_level", string_or_null(report.level)},
      {"quantize_at_load", report.at_load},
      {"blocks", report.blocks},
      {"index", string_or_null(report.index)},
      {"problem", string_or_null(report.problem)}};
}

void add_model(const Inspection& found, std::vector<std::string>& lines) {
  const ModelReport& report = *found.model;
  lines.push_back(json_text(to_json(found, report)));
  for (const ComponentReport& component : report.components) {
    Json json = to_json(component);
    Json& shards = json["shards"] = Json::array();
    for (const Component& opened : report.checkpoint.components) {
      if (opened.name != component.name) continue;
      for (const auto& file : opened.folder.files) {
        shards.push_back({{"file", file.name}, {"bytes", file.header.file_bytes}});
      }
    }
    lines.push_back(json_text(json));
  }
  for (const Component& component : report.checkpoint.components) {
    for (const LogicalTensor& tensor : component.tensors) {
      lines.push_back(json_text(to_json(component, tensor)));
    }
  }
}

}  // namespace

std::vector<std::string> json_lines(const Inspection& found) {
  std::vector<std::string> lines;
  if (found.model) add_model(found, lines);
  if (found.lora) add_lora_json(found, lines);
  return lines;
}

}  // namespace mflux::cli
