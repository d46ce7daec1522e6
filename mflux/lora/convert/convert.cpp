// SPDX-License-Identifier: MIT
// Each module's rows are mapped to layers of the other dialect: through the canonical tensors they
// change, so that fused and split layers, and halves that are swapped, are the same. What a layer
// gets is put together when headers are planned, for their sizes, and again when it is written, a
// layer at a time. Of algorithms beyond pairs and differences only the names change.
#include "mflux/lora/convert/convert.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/lora/adapter_metadata.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/alpha.h"
#include "mflux/lora/block_scales.h"
#include "mflux/lora/contents.h"
#include "mflux/lora/convert/layer.h"
#include "mflux/lora/names.h"
#include "mflux/lora/notes.h"

namespace mflux::lora {
namespace {

using safetensors::Metadata;
using safetensors::TensorInfo;

// Metadata that say what the tensors of the new file say, perhaps otherwise.
constexpr std::array<std::string_view, 5> kReplaced = {
    "lora_adapter_metadata",
    "lora_alpha",
    "network_alpha",
    "transformer.lora_alpha",
    "transformer.r"};
// Of CLIP's layers PEFT sees the names of transformers 5.
constexpr std::string_view kClipModel = "text_model.";
constexpr uint64_t kPieceBytes = 1 << 20;  // copied at a time

bool is_plain(const Module& module) {
  return std::ranges::all_of(module.parts, [](const Part& part) {
    switch (part.parameter) {
      case Parameter::down:
      case Parameter::up:
      case Parameter::up_bias:
      case Parameter::alpha:
      case Parameter::diff:
      case Parameter::bias_diff:
        return true;
      default:
        return false;
    }
  });
}

// Where the rows of a canonical tensor lie in the layers of the dialect.
struct Place {
  const Target* layer = nullptr;
  uint64_t begin = 0;  // in the tensor
  uint64_t count = 0;
  uint64_t to = 0;  // in the layer
};

class LayerIndex {
 public:
  LayerIndex(const BaseModel& model, const WritingStyle& style) {
    std::set<std::string_view> has_original;
    for (const Target& target : model.targets) {
      if (target.alias_of == AliasOf::original) has_original.insert(target.component);
    }
    for (const Target& target : model.targets) {
      const bool original =
          style.alias_of == AliasOf::original && has_original.contains(target.component);
      if (target.alias_of != (original ? AliasOf::original : AliasOf::diffusers)) continue;
      uint64_t row = 0;
      for (const TargetRows& rows : target.rows) {
        places_[full_name(rows.component, rows.tensor)].push_back(
            {&target, rows.begin, rows.count, row});
        row += rows.count;
      }
    }
  }

  // The layers that rows of a module belong to, by alias.
  std::map<std::string_view, std::pair<const Target*, std::vector<RowMap>>> find(
      const Target& module) const {
    std::map<std::string_view, std::pair<const Target*, std::vector<RowMap>>> result;
    uint64_t row = 0;
    for (const TargetRows& rows : module.rows) {
      const auto places = places_.find(full_name(rows.component, rows.tensor));
      if (places == places_.end()) fail("{}/{} has no name to write", rows.component, rows.tensor);
      for (const Place& place : places->second) {
        const uint64_t begin = std::max(rows.begin, place.begin);
        const uint64_t end = std::min(rows.begin + rows.count, place.begin + place.count);
        if (begin >= end) continue;
        auto& [layer, maps] = result[place.layer->alias];
        layer = place.layer;
        maps.push_back({row + (begin - rows.begin), place.to + (begin - place.begin), end - begin});
      }
      row += rows.count;
    }
    return result;
  }

 private:
  std::map<std::string, std::vector<Place>> places_;
};

class Converter {
 public:
  Converter(const LoraSpec& lora, const BaseModel& model, WritingDialect to)
      : lora_(lora),
        model_(model),
        block_scales_(lora.block_scales, model),
        style_(writing_style(to)),
        names_(model),
        index_(model, style_),
        contents_(open_contents(lora.file)),
        path_(lora.file.string()) {
    for (Module& module : contents_.modules) module.place = names_.resolve(module.name);
    result_.from = dialect_of(contents_.modules);
  }

  ConvertedFile run(const std::filesystem::path& output) {
    check_it_fits();
    for (const Module& module : contents_.modules) add(module);
    for (const auto& [name, layer] : layers_) {
      if (const std::string why = why_not(layer, style_); !why.empty()) {
        refuse(*first_module(layer), why);
      }
    }
    fail_if_refused();
    if (layers_.empty() && renamed_.empty()) {
      fail(ErrorKind::lora, "{}: nothing is left to write", path_);
    }
    plan();
    write(output);
    for (const StrayKey& key : contents_.ignored) {
      notes_.add(fmt::format("left out: {}", key.why), key.info->name);
    }
    notes_.write(path_, result_.notes);
    return std::move(result_);
  }

 private:
  std::string_view dialect() const { return writing_dialect_name(style_.dialect); }

  // What cannot be merged cannot be converted either; the loader says why.
  void check_it_fits() {
    const Loaded loaded = load({&lora_, 1}, model_);
    if (!loaded.problems.empty()) fail(ErrorKind::lora, "{}", Shown{describe(loaded.problems)});
    transposed_ = loaded.adapters.front().transposed;
  }

  void refuse(const Module& module, std::string_view why) {
    problems_.push_back(
        {0,
         ProblemKind::unsupported,
         path_,
         module.name,
         fmt::format("'{}' cannot be written as {}: {}", module.name, dialect(), why)});
  }

  void fail_if_refused() const {
    if (!problems_.empty()) fail(ErrorKind::lora, "{}", Shown{describe(problems_)});
  }

  static const Module* first_module(const WrittenLayer& layer) {
    if (!layer.weights.empty()) return layer.weights.front().module;
    if (!layer.biases.empty()) return layer.biases.front().module;
    return layer.pairs.front().module;
  }

  void add(const Module& module) {
    const Target& target = *module.place.target;
    const double factor = lora_.scale * block_scales_.of(target);
    if (factor == 0) return notes_.add("left out: its scale is 0", module.name);
    const auto prefix = component_prefix(style_, *model_.family, target.component);
    if (!prefix) {
      return refuse(
          module,
          fmt::format(
              "it has no LoRAs for {} of {} (--lora-block-scales {}=0 leaves them out)",
              target.component,
              model_.title,
              target.component));
    }
    const auto layers = index_.find(target);
    if (!is_plain(module)) {
      if (factor == 1) return rename(module, layers, *prefix);
      return refuse(module, "its algorithm takes no scale into a file");
    }
    const bool is_pair =
        module.find(Parameter::down) != nullptr && module.find(Parameter::up) != nullptr;
    const double scale = is_pair ? factor * scale_of(module) : factor;
    for (const auto& [alias, place] : layers) {
      WrittenLayer& layer = layers_[fmt::format("{}/{}", target.component, alias)];
      layer.target = place.first;
      layer.module = written_module(style_, *prefix, alias);
      if (is_pair) {
        layer.pairs.push_back({&module, scale, transposed_, layers.size() > 1, place.second});
      }
      add_dense(module, scale, factor, place.second, layer);
    }
  }

  void add_dense(
      const Module& module,
      double scale,
      double factor,
      const std::vector<RowMap>& rows,
      WrittenLayer& layer) const {
    const bool is_pair = module.find(Parameter::up) != nullptr;
    const TensorInfo* whole = module.find(is_pair ? Parameter::diff : Parameter::down);
    if (whole == nullptr) whole = module.find(Parameter::diff);
    if (whole != nullptr) layer.weights.push_back({&module, whole, factor, false, rows});
    if (const TensorInfo* bias = module.find(Parameter::up_bias)) {
      layer.biases.push_back({&module, bias, scale, true, rows});
    }
    if (const TensorInfo* bias = module.find(Parameter::bias_diff)) {
      layer.biases.push_back({&module, bias, factor, false, rows});
    }
  }

  double scale_of(const Module& module) {
    const uint64_t rank = pair_rank(module, transposed_).value();
    const FileContext file{
        .model = model_,
        .bytes = *contents_.file,
        .metadata = contents_.metadata,
        .sidecar = contents_.sidecar};
    const Alpha alpha = find_alpha(module, rank, file, notes_);
    const auto width = static_cast<double>(rank);
    return alpha.value / (alpha.rank_stabilized ? std::sqrt(width) : width);
  }

  // An algorithm whose factors cannot be cut or joined: only the names change.
  template <typename Layers>
  void rename(const Module& module, const Layers& layers, std::string_view prefix) {
    for (const Part& part : module.parts) {
      const bool is_plain_part = part.parameter == Parameter::down ||
                                 part.parameter == Parameter::up ||
                                 part.parameter == Parameter::alpha;
      if (is_plain_part ? style_.alpha_tensors : keeps(style_.dialect, ending_of(part))) {
        continue;
      }
      return refuse(module, fmt::format("it has no key for '{}'", parameter_name(part.parameter)));
    }
    const Target& target = *module.place.target;
    const auto& [layer, rows] = layers.begin()->second;
    const bool is_same = layers.size() == 1 && rows.size() == 1 && rows.front().to == 0 &&
                         rows.front().count == target.outputs && layer->outputs == target.outputs;
    if (!is_same || transposed_) {
      return refuse(module, "it fuses or splits this layer, which its algorithm does not allow");
    }
    const bool has_alpha = module.find(Parameter::alpha) != nullptr;
    if (!has_alpha && (contents_.metadata.find(target.component, module.place.name) ||
                       contents_.sidecar.find(target.component, module.place.name))) {
      return refuse(module, "its alpha is not in a tensor");
    }
    renamed_[written_module(style_, prefix, layer->alias)] = &module;
  }

  std::string_view ending_of(const Part& part) const {
    if (part.parameter == Parameter::down) return style_.down;
    if (part.parameter == Parameter::up) return style_.up;
    return part.ending;
  }

  // Headers of everything; the values are made again when they are written, a layer at a time.
  void plan() {
    std::map<std::string, AdapterComponent> adapters;
    for (const auto& [name, layer] : layers_) {
      bias_in_[layer.target->component] |= !layer.biases.empty() && !style_.up_bias.empty();
    }
    for (const auto& [name, layer] : layers_) {
      const WrittenTensors written = values_of(layer);
      for (const WrittenTensor& tensor : written.tensors) {
        add_header(tensor.name, {tensor.values.dtype, tensor.shape});
      }
      if (written.widened) {
        notes_.add("B is F32 now: layers of different scales are one", layer.module);
      }
      if (written.rank == 0) continue;
      AdapterComponent& adapter = adapters[layer.target->component];
      adapter.has_bias = bias_in_[layer.target->component];
      std::string_view module = layer.target->alias;
      if (module.starts_with(kClipModel)) module.remove_prefix(kClipModel.size());
      adapter.layers.push_back({std::string(module), written.rank, written.alpha});
    }
    for (const auto& [name, module] : renamed_) {
      for (const Part& part : module->parts) {
        add_header(fmt::format("{}{}", name, ending_of(part)), part.info->spec);
      }
    }
    result_.layers = layers_.size() + renamed_.size();
    for (const auto& [key, value] : contents_.header.metadata) {
      if (std::ranges::find(kReplaced, key) == kReplaced.end()) metadata_[key] = value;
    }
    metadata_["format"] = "pt";
    if (!style_.alpha_tensors) {
      metadata_["lora_adapter_metadata"] = format_adapter_metadata(adapters);
    }
  }

  WrittenTensors values_of(const WrittenLayer& layer) const {
    return write_layer(layer, style_, *contents_.file, bias_in_.at(layer.target->component));
  }

  void add_header(std::string name, TensorSpec spec) {
    if (!names_written_.insert(name).second) {
      fail(
          ErrorKind::lora,
          "{}: two modules would become '{}'; a file holds a key once",
          path_,
          name);
    }
    const uint64_t bytes = spec.bytes();
    headers_.push_back({std::move(name), std::move(spec), 0, bytes});
  }

  // Wide dtypes first, so that all lie aligned; then by name.
  void write(const std::filesystem::path& output) {
    std::ranges::sort(headers_, [](const TensorInfo& a, const TensorInfo& b) {
      const uint64_t a_bytes = dtype_bytes(a.spec.dtype);
      const uint64_t b_bytes = dtype_bytes(b.spec.dtype);
      return a_bytes != b_bytes ? a_bytes > b_bytes : a.name < b.name;
    });
    const std::string header = safetensors::format_header(headers_, metadata_);
    result_.tensors = headers_.size();
    result_.bytes = header.size();
    std::map<std::string_view, uint64_t> offsets;
    for (const TensorInfo& info : headers_) {
      offsets[info.name] = info.offset;
      result_.bytes += info.bytes;
    }
    write_to(output, header, offsets);
  }

  void write_to(
      const std::filesystem::path& path,
      std::string_view header,
      const std::map<std::string_view, uint64_t>& offsets) const {
    NewFile file(path, result_.bytes);
    file.file().write(0, std::as_bytes(std::span(header)));
    for (const auto& [name, layer] : layers_) {
      for (const WrittenTensor& tensor : values_of(layer).tensors) {
        file.file().write(offsets.at(tensor.name), tensor.values.data);
      }
    }
    for (const auto& [name, module] : renamed_) {
      for (const Part& part : module->parts) {
        const std::string key = fmt::format("{}{}", name, ending_of(part));
        copy(*part.info, file.file(), offsets.at(key));
      }
    }
    file.publish();
  }

  void copy(const TensorInfo& info, const File& to, uint64_t offset) const {
    std::vector<std::byte> piece(std::min<uint64_t>(info.bytes, kPieceBytes));
    for (uint64_t done = 0; done < info.bytes; done += piece.size()) {
      piece.resize(std::min<uint64_t>(piece.size(), info.bytes - done));
      contents_.file->read(info.offset + done, piece);
      to.write(offset + done, piece);
    }
  }

  const LoraSpec& lora_;
  const BaseModel& model_;
  BlockScales block_scales_;
  const WritingStyle& style_;
  Names names_;
  LayerIndex index_;
  Contents contents_;
  std::string path_;
  bool transposed_ = false;
  std::map<std::string, WrittenLayer> layers_ = {};    // by "component/alias"
  std::map<std::string, const Module*> renamed_ = {};  // by the module's new name
  std::map<std::string, bool> bias_in_ = {};           // components with a bias of a B
  std::vector<Problem> problems_ = {};
  Notes notes_ = {};
  std::vector<TensorInfo> headers_ = {};
  std::set<std::string> names_written_ = {};
  Metadata metadata_ = {};
  ConvertedFile result_ = {};
};

}  // namespace

ConvertedFile convert(
    const LoraSpec& lora,
    const BaseModel& model,
    WritingDialect to,
    const std::filesystem::path& output) {
  return Converter(lora, model, to).run(output);
}

}  // namespace mflux::lora
