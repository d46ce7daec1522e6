// SPDX-License-Identifier: MIT
#include "mflux/inspect.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/file.h"
#include "mflux/hub/hub.h"
#include "mflux/lora/contents.h"
#include "mflux/lora/files.h"
#include "mflux/safetensors/file_name.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

fs::path resolve(const std::string& name) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  return name.find(':') == std::string::npos ? hub::resolve_model(name) : hub::resolve_lora(name);
}

std::vector<fs::path> safetensors_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const auto name = safetensors::parse_file_name(entry.path().filename().string());
    if (name && !name->index) files.push_back(entry.path());
  }
  return files;
}

bool is_lora(const fs::path& file) {
  return lora::looks_like_lora(safetensors::read_header(File::open(file)));
}

// The LoRA that `path` is or, as the only one of its kind, holds. `is_tried`: on a model, as a save
// would take it for --lora, whatever it is.
std::optional<fs::path> find_lora(const fs::path& path, bool is_tried) {
  if (fs::is_regular_file(path) && !path.filename().string().ends_with(".json")) {
    return is_lora(path) || is_tried ? std::optional(path) : std::nullopt;
  }
  try {
    const fs::path lora = fs::is_directory(path) ? hub::resolve_lora(path.string()) : path;
    const bool is_it = std::ranges::all_of(lora::lora_files(lora), is_lora);
    return is_it ? std::optional(lora) : std::nullopt;
  } catch (const Error& error) {
    // A LoRA of which a shard is missing; else perhaps a model, and what is broken of that is told
    // where models are opened.
    const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
    const bool is_refused = error.kind() == ErrorKind::lora;
    if (is_refused && std::ranges::any_of(safetensors_in(folder), is_lora)) throw;
    return std::nullopt;
  }
}

// ---- models

// Some models have a single file beside the folders, so that alone tells nothing.
bool is_component_folder(const fs::path& path) {
  if (!fs::is_directory(path) || safetensors_in(path).empty()) return false;
  return std::none_of(
      fs::directory_iterator(path), fs::directory_iterator(), [](const fs::directory_entry& entry) {
        return entry.is_directory() && !safetensors_in(entry.path()).empty();
      });
}

bool is_component_name(const std::string& name) {
  for (const models::Family* family : models::families()) {
    const auto names = models::weight_components(*family);
    if (std::ranges::find(names, name) != names.end()) return true;
  }
  return false;
}

// A component's folder by itself is looked at as a model that has nothing else.
Checkpoint open_any(const fs::path& path) {
  if (!is_component_folder(path)) return open_tensors(path);
  const fs::path folder = fs::canonical(path);
  if (!is_component_name(folder.filename().string()) && fs::exists(folder / "config.json")) {
    return open_tensors(path);  // a transformer's own repository
  }
  Checkpoint model;
  model.path = folder.parent_path();
  model.components.push_back(open_component(folder.parent_path(), folder.filename().string()));
  return model;
}

std::string saved_by(const Checkpoint& model) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kPrograms = {
      {{"mflux_cpp_version", "mflux.cpp"}, {"mflux_version", "mflux"}}};
  for (const auto& [key, program] : kPrograms) {
    for (const Component& component : model.components) {
      const std::string_view version = component.folder.metadata(key);
      if (!version.empty()) return fmt::format("{} {}", program, version);
    }
  }
  return "";
}

ComponentReport describe(const Component& component) {
  ComponentReport report{.name = component.name, .index = component.folder.index_name};
  report.tensors = component.tensors.size();
  for (const LogicalTensor& tensor : component.tensors) {
    report.parameters += tensor.spec.elements();
    if (tensor.format) ++report.formats[to_string(*tensor.format)];
  }
  for (const safetensors::StoredTensor& tensor : component.folder.tensors) {
    report.bytes += tensor.info.bytes;
    ++report.dtypes[std::string(dtype_name(tensor.info.spec.dtype))];
  }
  report.level = component.folder.metadata("quantization_level");
  // Python's mflux says the same level in every component, whether anything in it is packed or not.
  report.at_load = component.folder.metadata("mflux_cpp_quantized") == "at load";
  return report;
}

// What the family's tables make of a component.
std::map<std::string, Shape> read_by_tables(
    const Checkpoint& model, const Component& component, ComponentReport& report) {
  try {
    return models::canonical_shapes(*model.family, component.source, model.naming);
  } catch (const Error& error) {
    report.problem = error.what();
    return {};
  }
}

void count_blocks(const std::map<std::string, Shape>& shapes, ComponentReport& report) {
  std::map<std::string, std::set<uint64_t>> blocks;
  for (const auto& [tensor, shape] : shapes) {
    const BlockName name = block_name(tensor);
    if (!name.block) continue;
    blocks[name.pattern.substr(0, name.pattern.find(".{}"))].insert(*name.block);
  }
  for (const auto& [name, numbers] : blocks) report.blocks[name] = numbers.size();
}

void read_receipt(const fs::path& path, ModelReport& report) {
  if (!fs::is_regular_file(path / "bake.json")) return;
  const std::string file = (path / "bake.json").string();
  try {
    report.receipt = parse_receipt(read_text(file), file);
  } catch (const Error& error) {
    report.receipt_problem = error.what();
  }
}

void list_folders(const Checkpoint& model, ModelReport& report) {
  for (const std::string& name : models::weight_components(*model.family)) {
    const bool found =
        std::ranges::find(model.components, name, &Component::name) != model.components.end();
    if (!found) report.missing.push_back(name);
  }
  for (const std::string& name : models::copied_folders(*model.family)) {
    FolderReport folder{.name = name};
    if (fs::is_directory(model.path / name)) {
      folder.files = static_cast<size_t>(std::ranges::count_if(
          fs::recursive_directory_iterator(model.path / name),
          [](const fs::directory_entry& entry) { return entry.is_regular_file(); }));
    }
    report.folders.push_back(std::move(folder));
  }
}

ModelReport inspect_model(const fs::path& path, const InspectOptions& options) {
  ModelReport report;
  Checkpoint& model = report.checkpoint;
  model = open_any(path);
  report.saved_by = saved_by(model);
  std::map<std::string, ComponentReport> strangers;
  for (const Component& component : model.components) {
    ComponentReport& stranger = strangers[component.name] = describe(component);
    stranger.of_family = false;
  }
  try {
    identify(model, options.base_model);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;
    report.unknown = error.what();
  }
  for (const Component& component : model.components) {
    ComponentReport found = describe(component);
    strangers.erase(model.single_file ? "" : component.name);
    if (model.family != nullptr) {
      const std::map<std::string, Shape> shapes = read_by_tables(model, component, found);
      count_blocks(shapes, found);
      if (component.name == "transformer") {
        report.variant = models::release_title(*model.family, shapes);
      }
    }
    report.components.push_back(std::move(found));
  }
  for (auto& [name, stranger] : strangers) report.components.push_back(std::move(stranger));
  if (model.family != nullptr && !model.single_file) list_folders(model, report);
  if (fs::is_directory(path)) read_receipt(path, report);
  return report;
}

}  // namespace

Inspection inspect(const InspectOptions& options) {
  try {
    Inspection found{.path = resolve(options.path)};
    if (const auto lora = find_lora(found.path, options.model.has_value())) {
      found.lora = report_lora(
          *lora,
          {.model = options.model,
           .base_model = options.base_model,
           .scale = options.scale,
           .block_scales = options.block_scales});
      for (const fs::path& file : lora::lora_files(*lora)) found.bytes += fs::file_size(file);
      return found;
    }
    if (options.model) {
      fail(
          ErrorKind::usage,
          "{}: is not a LoRA; --model names the model to try a LoRA on",
          found.path.string());
    }
    found.model = inspect_model(found.path, options);
    for (const Component& component : found.model->checkpoint.components) {
      for (const auto& file : component.folder.files) found.bytes += file.header.file_bytes;
    }
    return found;
  } catch (const fs::filesystem_error& error) {
    fail("{}", error.what());
  }
}

}  // namespace mflux
