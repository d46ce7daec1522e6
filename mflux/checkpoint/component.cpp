// SPDX-License-Identifier: MIT
// Reads headers alone. A packed matrix is two or three stored tensors (weight, scales, biases) that
// become one logical tensor; its bits follow from the shapes of codes and scales, its mode and
// group size from the metadata, or where those say nothing from the shapes of the model
// (group_size.h).
#include "mflux/checkpoint/component.h"

#include <utility>

#include "mflux/base/error.h"
#include "mflux/base/number.h"
#include "mflux/base/paths.h"
#include "mflux/safetensors/wrappers.h"

namespace mflux {
namespace fs = std::filesystem;
namespace {

using safetensors::StoredTensor;
using safetensors::TensorFolder;
using safetensors::TensorInfo;

bool tells_formats(const TensorFolder& folder) {
  return !folder.metadata("mflux_cpp_mode").empty() ||
         !folder.metadata("mflux_cpp_group_size").empty();
}

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
  if (!tells_formats(folder) && packed.size() == 2 && groups.size() == 2 &&
      packed[0] == groups[0]) {
    if (const auto likely = likely_format(packed[1], groups[1])) return *likely;
  }
  const auto columns =
      groups.empty() ? 0 : groups.back() * static_cast<uint64_t>(format.group_size);
  if (packed.size() != 2 || groups.size() != 2 || packed[0] != groups[0] || columns == 0 ||
      packed[1] * 32 % columns != 0) {
    fail(
        "{}: tensor '{}' has packed shape {} but scales {}; expected one row of scales per row and "
        "one scale per {} weights",
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

}  // namespace

uint64_t LogicalTensor::stored_row_bytes() const {
  if (format) return format->packed_columns(spec.row_elements()) * sizeof(uint32_t);
  return spec.row_elements() * dtype_bytes(spec.dtype);
}

bool Component::tells_formats() const {
  return mflux::tells_formats(folder);
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

}  // namespace mflux
