// SPDX-License-Identifier: MIT
// Tensors are taken in the order of the plan and fill a shard until the next one does not fit;
// those that a job keeps apart come last. A packed matrix stays with its scales and biases. Within
// a shard tensors are sorted by the size of their elements, largest first, then by name: every
// tensor is then aligned without holes. With that the header is made, and from it every offset: the
// bytes before the data are known before any data is.
#include "mflux/bake/shard_layout.h"

#include <algorithm>

#include <fmt/format.h>

#include "mflux/version.h"

namespace mflux {
namespace {

using safetensors::Metadata;
using safetensors::TensorInfo;

// The stem of weight files in a Hugging Face folder: diffusers' classes and transformers' differ.
std::string_view hugging_face_stem(std::string_view component) {
  return component.starts_with("text_encoder") ? "model" : "diffusion_pytorch_model";
}

class ShardLayout {
 public:
  explicit ShardLayout(Plan& plan) : plan_(plan) {}

  void run() {
    plan_.shards.clear();
    for (size_t i = 0; i < plan_.components.size(); ++i) lay_out(i);
  }

 private:
  bool is_apart(const PlannedTensor& tensor) const {
    return plan_.options.apart.count(plan_.name_of(tensor)) != 0;
  }

  // The tensors of a component, those that lie apart last.
  std::vector<PlannedTensor*> in_order(size_t component) {
    std::vector<PlannedTensor*> tensors;
    for (PlannedTensor& tensor : plan_.tensors) {
      if (tensor.component == component) tensors.push_back(&tensor);
    }
    std::stable_partition(tensors.begin(), tensors.end(), [&](const PlannedTensor* tensor) {
      return !is_apart(*tensor);
    });
    return tensors;
  }

  // Fills in the parts of a tensor and returns their bytes.
  uint64_t make_parts(PlannedTensor& tensor) {
    const TensorSpec matrix{tensor.mapped.dtype, tensor.mapped.shape};
    const auto add = [](std::string name, TensorSpec spec) {
      const uint64_t row_bytes = spec.row_elements() * dtype_bytes(spec.dtype);
      return PlannedPart{.name = std::move(name), .spec = std::move(spec), .row_bytes = row_bytes};
    };
    if (!tensor.format) {
      tensor.weight = add(tensor.mapped.name, matrix);
      return matrix.bytes();
    }
    const std::string module = tensor.mapped.name.substr(0, tensor.mapped.name.rfind('.'));
    const PackedSpecs packed = packed_specs(*tensor.format, matrix);
    tensor.weight = add(tensor.mapped.name, packed.weight);
    tensor.scales = add(module + ".scales", packed.scales);
    if (packed.biases) tensor.biases = add(module + ".biases", *packed.biases);
    return tensor.bytes();
  }

  void lay_out(size_t index) {
    PlannedComponent& component = plan_.components[index];
    component.first_shard = plan_.shards.size();
    component.tensor_bytes = 0;
    component.tensors = 0;
    std::vector<std::vector<PlannedPart*>> shards;
    uint64_t filled = 0;
    std::optional<int> level;
    const bool one_file = plan_.options.layout == Layout::comfyui;
    bool apart = false;
    for (PlannedTensor* next : in_order(index)) {
      PlannedTensor& tensor = *next;
      const uint64_t bytes = make_parts(tensor);
      const bool full = filled != 0 && filled + bytes > plan_.options.max_shard_bytes;
      if (shards.empty() || (!one_file && (full || is_apart(tensor) != apart))) {
        shards.emplace_back();
        filled = 0;
        apart = is_apart(tensor);
      }
      filled += bytes;
      component.tensor_bytes += bytes;
      if (tensor.format) level = std::min(level.value_or(tensor.format->bits), tensor.format->bits);
      for (PlannedPart* part :
           {&tensor.weight,
            tensor.scales ? &*tensor.scales : nullptr,
            tensor.biases ? &*tensor.biases : nullptr}) {
        if (part == nullptr) continue;
        part->shard = plan_.shards.size() + shards.size() - 1;
        shards.back().push_back(part);
        ++component.tensors;
      }
    }
    component.shards = shards.size();
    component.metadata = metadata(level);
    for (size_t i = 0; i < shards.size(); ++i) add_shard(index, shards[i], i, shards.size());
    if (shards.empty() || plan_.options.layout == Layout::comfyui) return;
    component.index_file = component.name + "/" + index_name(component.name);
  }

  std::string index_name(std::string_view component) const {
    if (plan_.options.layout == Layout::mflux) return "model.safetensors.index.json";
    return std::string(hugging_face_stem(component)) + ".safetensors.index.json";
  }

  std::string shard_name(std::string_view component, size_t number, size_t count) const {
    switch (plan_.options.layout) {
      case Layout::mflux:
        return fmt::format("{}/{}.safetensors", component, number);
      case Layout::comfyui:
        return "model.safetensors";
      case Layout::diffusers:
        break;
    }
    const std::string_view stem = hugging_face_stem(component);
    if (count == 1) return fmt::format("{}/{}.safetensors", component, stem);
    return fmt::format("{}/{}-{:05}-of-{:05}.safetensors", component, stem, number + 1, count);
  }

  // Says what the bytes are. `level`: the lowest bits of a packed tensor in the component.
  Metadata metadata(std::optional<int> level) const {
    const bool at_load = plan_.options.quantize_at_load;
    if (at_load && !level) level = plan_.format->bits;
    Metadata metadata = {
        {"quantization_level", level ? std::to_string(*level) : "None"},
        {"mflux_cpp_version", std::string(version())},
        {"mflux_cpp_layout", std::string(to_string(plan_.options.layout))}};
    if (plan_.options.layout == Layout::mflux) {
      metadata["mflux_version"] = kMfluxVersion;
    } else {
      metadata["format"] = "pt";  // transformers refuses files without it
    }
    if (level) {
      const QuantFormat format = plan_.format ? *plan_.format : first_format().value();
      metadata["mflux_cpp_mode"] = quant_mode_name(format.mode);
      metadata["mflux_cpp_group_size"] = std::to_string(format.group_size);
      metadata["mflux_cpp_quantized"] = at_load ? "at load" : "packed";
    }
    return metadata;
  }

  std::optional<QuantFormat> first_format() const {
    for (const PlannedTensor& tensor : plan_.tensors) {
      if (tensor.format) return tensor.format;
    }
    return std::nullopt;
  }

  void add_shard(
      size_t component, const std::vector<PlannedPart*>& parts, size_t number, size_t count) {
    PlannedShard shard{.component = component};
    shard.file = shard_name(plan_.components[component].name, number, count);
    std::vector<PlannedPart*> sorted = parts;
    std::sort(sorted.begin(), sorted.end(), [](const PlannedPart* a, const PlannedPart* b) {
      const uint64_t a_bytes = dtype_bytes(a->spec.dtype);
      const uint64_t b_bytes = dtype_bytes(b->spec.dtype);
      return a_bytes != b_bytes ? a_bytes > b_bytes : a->name < b->name;
    });
    for (const PlannedPart* part : sorted) {
      shard.tensors.push_back(
          {.name = part->name, .spec = part->spec, .bytes = part->spec.bytes()});
    }
    shard.header = safetensors::format_header(shard.tensors, plan_.components[component].metadata);
    for (size_t i = 0; i < sorted.size(); ++i) sorted[i]->offset = shard.tensors[i].offset;
    shard.bytes = shard.header.size();
    for (const TensorInfo& tensor : shard.tensors) shard.bytes += tensor.bytes;
    plan_.shards.push_back(std::move(shard));
  }

  Plan& plan_;
};

}  // namespace

void lay_out_shards(Plan& plan) {
  ShardLayout(plan).run();
}

}  // namespace mflux
