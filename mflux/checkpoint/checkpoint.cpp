// SPDX-License-Identifier: MIT
#include "mflux/checkpoint/checkpoint.h"

#include <algorithm>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/number.h"
#include "mflux/base/paths.h"
#include "mflux/checkpoint/group_size.h"
#include "mflux/safetensors/file_name.h"
#include "mflux/safetensors/wrappers.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

using safetensors::StoredTensor;
using safetensors::TensorFolder;
using safetensors::TensorInfo;

// Mode and group size as the metadata tells them. Python mflux writes neither: affine, and a group
// size to be settled when the model is known. A matrix with biases is affine whatever the others
// are: of Qwen-Image some keep 8 bits (models/tables.h, BitsException).
QuantFormat stored_format(
    const TensorFolder& folder,
    const StoredTensor& weight,
    const StoredTensor& scales,
    bool has_biases) {
  const std::string file = (folder.path / folder.files[weight.file].name).string();
  QuantFormat format;
  if (const auto mode = folder.metadata("mflux_cpp_mode"); !mode.empty()) {
    const auto parsed = parse_quant_mode(mode);
    if (!parsed) fail("{}: metadata mflux_cpp_mode is '{}', not a mode of MLX", file, mode);
    format = make_quant_format(*parsed, {}, {});
  }
  if (const auto group = folder.metadata("mflux_cpp_group_size"); !group.empty()) {
    const auto number = parse_whole(group, 1000);
    if (!number) fail("{}: metadata mflux_cpp_group_size is '{}', not a number", file, group);
    format.group_size = static_cast<int>(*number);
  }
  if (has_biases && !format.has_biases()) format = make_quant_format(QuantMode::affine, {}, {});
  const Shape& packed = weight.info.spec.shape;
  const Shape& groups = scales.info.spec.shape;
  const bool told = !folder.metadata("mflux_cpp_mode").empty() ||
                    !folder.metadata("mflux_cpp_group_size").empty();
  if (!told && packed.size() == 2 && groups.size() == 2 && packed[0] == groups[0]) {
    if (const auto likely = likely_format(packed[1], groups[1])) return *likely;
  }
  const auto columns =
      groups.empty() ? 0 : groups.back() * static_cast<uint64_t>(format.group_size);
  if (packed.size() != 2 || groups.size() != 2 || packed[0] != groups[0] || columns == 0 ||
      packed[1] * 32 % columns != 0) {
    fail(
        "{}: tensor '{}' has packed shape {} but scales {}; expected one row of scales per row and "
        "a "
        "scale per {} weights",
        file,
        weight.info.name,
        to_string(packed),
        to_string(groups),
        format.group_size);
  }
  const auto bits = static_cast<int>(packed[1] * 32 / columns);
  try {
    return make_quant_format(format.mode, bits, format.group_size);
  } catch (const Error& error) {
    fail("{}: tensor '{}': {}", file, weight.info.name, Shown{error.what()});
  }
}

// The module a tensor belongs to if the tensor is `module` + suffix.
std::optional<std::string> without_suffix(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  return std::string(name.substr(0, name.size() - suffix.size()));
}

bool is_packed_weight(const StoredTensor* weight) {
  return weight != nullptr && weight->info.spec.dtype == Dtype::u32;
}

// Scales and biases of a packed matrix are parts of it, not tensors of the model.
bool is_part_of_packed(const TensorFolder& folder, std::string_view name) {
  for (const std::string_view suffix : {".scales", ".biases"}) {
    const auto module = without_suffix(name, suffix);
    if (module && is_packed_weight(folder.find(*module + ".weight"))) return true;
  }
  return false;
}

LogicalTensor packed_tensor(const TensorFolder& folder, const StoredTensor& weight) {
  const std::string file = (folder.path / folder.files[weight.file].name).string();
  const std::string module = without_suffix(weight.info.name, ".weight").value();
  LogicalTensor tensor{.name = weight.info.name, .file = weight.file, .offset = weight.info.offset};
  tensor.scales = folder.find(module + ".scales");
  tensor.biases = folder.find(module + ".biases");
  if (tensor.scales == nullptr) {
    fail("{}: tensor '{}' is packed (U32) but '{}.scales' is missing", file, tensor.name, module);
  }
  tensor.format = stored_format(folder, weight, *tensor.scales, tensor.biases != nullptr);
  if (tensor.format->has_biases() != (tensor.biases != nullptr)) {
    fail(
        "{}: tensor '{}' is {} but '{}.biases' is {}",
        file,
        tensor.name,
        to_string(*tensor.format),
        module,
        tensor.biases == nullptr ? "missing" : "there");
  }
  if (tensor.biases != nullptr && tensor.biases->info.spec != tensor.scales->info.spec) {
    fail(
        "{}: '{}.biases' is {} {}, expected {} {} as its scales",
        file,
        module,
        dtype_name(tensor.biases->info.spec.dtype),
        to_string(tensor.biases->info.spec.shape),
        dtype_name(tensor.scales->info.spec.dtype),
        to_string(tensor.scales->info.spec.shape));
  }
  const Dtype scale_dtype = tensor.scales->info.spec.dtype;
  const bool affine = tensor.format->mode == QuantMode::affine;
  if (affine ? scale_dtype != Dtype::bf16 && scale_dtype != Dtype::f16 && scale_dtype != Dtype::f32
             : scale_dtype != Dtype::u8) {
    fail("{}: '{}.scales' has dtype {}", file, module, dtype_name(scale_dtype));
  }
  tensor.spec.dtype = affine ? scale_dtype : Dtype::bf16;
  tensor.spec.shape = {
      weight.info.spec.shape[0],
      tensor.scales->info.spec.shape[1] * static_cast<uint64_t>(tensor.format->group_size)};
  return tensor;
}

void add_logical_tensors(Component& component) {
  const TensorFolder& folder = component.folder;
  component.tensors.reserve(folder.tensors.size());
  for (const StoredTensor& stored : folder.tensors) {
    const TensorInfo& info = stored.info;
    if (is_part_of_packed(folder, info.name)) continue;
    if (info.spec.dtype == Dtype::u32 && info.name.ends_with(".weight")) {
      component.tensors.push_back(packed_tensor(folder, stored));
    } else {
      component.tensors.push_back(
          {.name = info.name, .spec = info.spec, .file = stored.file, .offset = info.offset});
    }
  }
  component.source.tensors.reserve(component.tensors.size());
  for (LogicalTensor& tensor : component.tensors) {
    tensor.name = safetensors::without_wrappers(tensor.name);
    component.source.tensors.push_back(
        {.name = tensor.name, .spec = tensor.spec, .packed = tensor.format.has_value()});
  }
}

bool saved_by_mflux(const TensorFolder& folder) {
  if (const auto layout = folder.metadata("mflux_cpp_layout"); !layout.empty()) {
    return layout == "mflux";
  }
  return !folder.metadata("mflux_version").empty() ||
         !folder.metadata("quantization_level").empty();
}

bool holds_tensors(const fs::path& folder) {
  return std::any_of(
      fs::directory_iterator(folder), fs::directory_iterator(), [](const auto& entry) {
        return safetensors::parse_file_name(entry.path().filename().string()).has_value();
      });
}

// Folders of a pipeline that may hold weights, known by what is in them.
std::vector<std::string> folders_with_tensors(const fs::path& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (it->is_directory() && !is_system_file(name) && holds_tensors(it->path())) {
      names.push_back(name);
    }
  }
  if (error) fail("{}: cannot list the folder: {}", path.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

// The folder of the model that a component's folder belongs to, or else that folder itself.
fs::path whole_of(const fs::path& folder) {
  fs::path above = fs::absolute(folder).lexically_normal().parent_path();
  for (const char* sign : {"model_index.json", "vae", "text_encoder"}) {
    if (fs::exists(above / sign)) return above;
  }
  return folder;
}

// An index, or one of several files that an index or their own names belong together: what they are
// parts of is meant.
void refuse_index(const fs::path& file) {
  const auto name = safetensors::parse_file_name(file.filename().string());
  if (!name || !name->index) return;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  fail(
      "{}: this is the index of a model's files, not the model. Give the folder instead: {}",
      file.string(),
      whole_of(folder).string());
}

void refuse_shard(const fs::path& file) {
  const auto name = safetensors::parse_file_name(file.filename().string());
  if (!name) return;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  uint64_t shards = name->shards;
  if (shards == 0) shards = safetensors::files_in_index(folder, file.filename().string());
  if (shards < 2) return;
  fail(
      "{}: this is one shard of {}, not the model. Give the folder instead: {}",
      file.string(),
      shards,
      whole_of(folder).string());
}

// Of a transformer's own folder.
std::vector<std::string> bare_files(const Checkpoint& model) {
  std::vector<std::string> files;
  if (fs::exists(model.path / "config.json")) files.push_back("transformer/config.json");
  return files;
}

[[noreturn]] void refuse_empty(const fs::path& path) {
  if (fs::exists(path / "model_index.json")) {
    fail(
        "{}: model_index.json is there, but none of the folders that it names holds a "
        ".safetensors file (an incomplete download?)",
        path.string());
  }
  fail(
      "{}: expected a model folder (transformer/, text_encoder/, vae/ with .safetensors files) "
      "or one .safetensors file; found neither",
      path.string());
}

// Small files that belong to the model and hold no weights.
std::vector<std::string> copied_files(const Checkpoint& model) {
  std::vector<std::string> files;
  const auto add = [&](const fs::path& relative) {
    if (is_there(model.path / relative)) files.push_back(relative.string());
  };
  add("model_index.json");
  for (const Component& component : model.components) {
    add(fs::path(component.name) / "config.json");
    add(fs::path(component.name) / "generation_config.json");
  }
  for (const std::string& folder : models::copied_folders(*model.family)) {
    if (!is_there(model.path / folder)) continue;
    for (const std::string& file : files_below(model.path / folder)) {
      files.push_back(folder + "/" + file);
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

const models::Family* asked_family(const std::optional<std::string>& base_model) {
  if (!base_model) return nullptr;
  if (const models::Family* family = models::find_family(*base_model)) return family;
  if (const models::KnownModel* known = models::find_known_model(*base_model)) {
    return models::find_family(known->family);
  }
  fail(ErrorKind::usage, "--base-model '{}' is not a model this program knows", *base_model);
}

// The components' tensors as one list for the models' tables, not copied: there may be many.
struct LentSources {
  LentSources(std::vector<Component>& from, std::string pipeline) : lenders(from) {
    for (Component& component : lenders) sources.push_back(std::move(component.source));
    if (!pipeline.empty()) sources.push_back({.config = std::move(pipeline)});
  }
  LentSources(const LentSources&) = delete;
  LentSources& operator=(const LentSources&) = delete;
  ~LentSources() {
    for (size_t i = 0; i < lenders.size(); ++i) lenders[i].source = std::move(sources[i]);
  }

  std::vector<Component>& lenders;
  std::vector<models::SourceComponent> sources = {};
};

void sort_components(Checkpoint& model) {
  const std::vector<std::string> order = models::weight_components(*model.family);
  std::erase_if(model.components, [&](const Component& component) {
    return std::find(order.begin(), order.end(), component.name) == order.end();
  });
  std::sort(model.components.begin(), model.components.end(), [&](const auto& a, const auto& b) {
    return std::find(order.begin(), order.end(), a.name) <
           std::find(order.begin(), order.end(), b.name);
  });
}

}  // namespace

uint64_t LogicalTensor::stored_row_bytes() const {
  if (format) return format->packed_columns(spec.row_elements()) * sizeof(uint32_t);
  return spec.row_elements() * dtype_bytes(spec.dtype);
}

fs::path copied_source(const Checkpoint& model, const std::string& file) {
  return model.path / (model.bare ? fs::path(file).filename() : fs::path(file));
}

Component open_component(const fs::path& path, const std::string& name) {
  const fs::path where = name.empty() ? path : path / name;
  Component component;
  component.name = name;
  component.source.name = name;
  if (name.empty() && !fs::is_directory(where)) {
    component.folder = safetensors::open_file(where);
    component.source.file = where.string();
  } else {
    component.folder = safetensors::open_folder(where);
    const fs::path config = where / "config.json";
    if (is_there(config)) component.source.config = read_text(config);
  }
  component.source.saved_by_mflux = saved_by_mflux(component.folder);
  add_logical_tensors(component);
  return component;
}

Checkpoint open_tensors(const fs::path& path) {
  Checkpoint model;
  model.path = path;
  model.single_file = fs::is_regular_file(path);
  if (model.single_file) {
    refuse_index(path);
    model.components.push_back(open_component(path, ""));
    return model;
  }
  if (!fs::is_directory(path)) fail("{}: no such file or folder", path.string());
  const auto names = folders_with_tensors(path);
  for (const std::string& name : names) model.components.push_back(open_component(path, name));
  if (!names.empty()) return model;
  model.bare = holds_tensors(path) && fs::exists(path / "config.json");
  if (!model.bare) refuse_empty(path);
  Component transformer = open_component(path, "");
  transformer.name = transformer.source.name = "transformer";
  model.components.push_back(std::move(transformer));
  return model;
}

void identify(Checkpoint& model, const std::optional<std::string>& base_model) {
  const models::Family* asked = asked_family(base_model);
  std::string pipeline;
  if (const fs::path index = model.path / "model_index.json"; fs::is_regular_file(index)) {
    pipeline = read_text(index);
  }
  models::Identified identified;
  try {
    const LentSources lent(model.components, std::move(pipeline));
    identified = models::identify(lent.sources, asked);
  } catch (const Error& error) {
    const std::string path = model.path.string();
    if (std::string_view(error.what()).starts_with(path)) throw;
    fail(error.kind(), "{}: {}", path, Shown{error.what()});
  }
  model.family = identified.family;
  model.naming = identified.naming;
  if (model.single_file) {
    model.components.front().name = "transformer";
    model.components.front().source.name = "transformer";
  }
  sort_components(model);
  settle_group_sizes(model);
}

Checkpoint open_checkpoint(const fs::path& path, const std::optional<std::string>& base_model) {
  if (fs::is_regular_file(path)) refuse_shard(path);
  Checkpoint model = open_tensors(path);
  identify(model, base_model);
  if (!model.single_file) model.copied = model.bare ? bare_files(model) : copied_files(model);
  for (const std::string& file : model.copied) {
    model.copied_stamps.push_back(stamp_of(copied_source(model, file)));
  }
  return model;
}

}  // namespace mflux
