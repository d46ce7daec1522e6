// SPDX-License-Identifier: MIT
// No tensor data of the model is read. Checked and settled in this order: options that contradict
// each other, parts of the model that are missing, LoRAs that do not fit (refused, or dropped as
// --on-lora-failure says); then every tensor under its name in the output, what LoRAs add to it and
// how it is stored; then whether that fits into the memory allowed; then the shards; last the notes
// for the user. The order decides which of several errors is reported.
#include "mflux/bake/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/ranges.h>

#include "mflux/bake/case_blind.h"
#include "mflux/bake/inputs.h"
#include "mflux/bake/memory.h"
#include "mflux/bake/shard_layout.h"
#include "mflux/bake/whole_matrix.h"
#include "mflux/base/error.h"
#include "mflux/base/tensor.h"
#include "mflux/checkpoint/completeness.h"

namespace mflux {
namespace {

using models::MappedTensor;
using models::Naming;

Naming output_naming(Layout layout) {
  switch (layout) {
    case Layout::mflux:
      return Naming::mflux;
    case Layout::diffusers:
      return Naming::diffusers;
    case Layout::comfyui:
      return Naming::original;
  }
  return Naming::mflux;
}

void check_options(const Checkpoint& model, const SaveOptions& options, bool format) {
  if (options.quantize_at_load && !format) {
    fail(ErrorKind::usage, "--quantize-at-load needs --quantize: which level should be recorded?");
  }
  if (format && !options.quantize_at_load && options.layout != Layout::mflux) {
    fail(
        ErrorKind::usage,
        "--layout {} cannot hold MLX's packed tensors: its readers do not know them. Use --layout "
        "mflux, or leave out --quantize",
        to_string(options.layout));
  }
  if (options.min_kept && !(*options.min_kept >= 0 && *options.min_kept <= 1)) {
    fail(ErrorKind::usage, "--min-kept {} is not between 0 and 1", *options.min_kept);
  }
  if (options.escalate && options.mode != QuantMode::affine) {
    fail(
        ErrorKind::usage,
        "--escalate needs affine formats: {} has no more bits to give",
        quant_mode_name(options.mode));
  }
  if (options.max_shard_bytes == 0) fail(ErrorKind::usage, "--max-shard-size must not be 0");
  if (options.layout == Layout::comfyui &&
      std::none_of(
          model.components.begin(), model.components.end(), [](const Component& component) {
            return component.name == "transformer";
          })) {
    fail(
        "{}: holds no transformer, which is all that --layout comfyui writes", model.path.string());
  }
}

class Planner {
 public:
  Planner(
      const Checkpoint& model,
      lora::Loaded& loras,
      const SaveOptions& options,
      const BitsByTensor& bits)
      : model_(model), loras_(loras), bits_(bits) {
    plan_.options = options;
    plan_.format = options.quant_format();
    check_options(model, options, plan_.format.has_value());
  }

  Plan make() {
    absent_ = check_complete(model_);
    settle_loras();
    for (size_t i = 0; i < model_.components.size(); ++i) add_component(i);
    for (PlannedTensor& tensor : plan_.tensors) attach_deltas(tensor);
    for (PlannedTensor& tensor : plan_.tensors) choose_format(tensor);
    check_tile_memory(plan_.options.max_memory, 1);
    gather_whole_groups();
    lay_out_shards(plan_);
    if (plan_.options.layout != Layout::comfyui) plan_.copied = model_.copied;
    check_told_apart(model_.path.string(), plan_.copied);
    check_input_names(model_, loras_);
    add_notes();
    return std::move(plan_);
  }

 private:
  bool written(const Component& component) const {
    return plan_.options.layout != Layout::comfyui || component.name == "transformer";
  }

  void settle_loras() {
    if (!loras_.problems.empty()) {
      switch (plan_.options.on_lora_failure) {
        case OnLoraFailure::error:
          fail(ErrorKind::lora, "{}", Shown{lora::describe(loras_.problems)});
        case OnLoraFailure::skip_lora:
          lora::drop(loras_, lora::Drop::loras);
          break;
        case OnLoraFailure::full_precision:
          plan_.notes.push_back("A LoRA did not fit: saving without quantization, as asked");
          plan_.format.reset();
          plan_.options.quantize_at_load = false;  // there is no level to record
          full_precision_ = true;
          lora::drop(loras_, lora::Drop::layers);
          break;
        case OnLoraFailure::skip_layer:
          lora::drop(loras_, lora::Drop::layers);
          break;
      }
    }
    ContributionsByName contributions = lora::contributions(loras_);
    for (auto& [name, list] : contributions) {  // strength 0 leaves a tensor untouched
      std::erase_if(
          list, [](const lora::Contribution& item) { return !lora::has_effect(*item.update); });
    }
    std::erase_if(contributions, [](const auto& item) { return item.second.empty(); });
    plan_.contributions = std::make_shared<const ContributionsByName>(std::move(contributions));
  }

  void add_component(size_t index) {
    const Component& component = model_.components[index];
    plan_.components.push_back({.name = component.name});
    if (!written(component)) return;
    const models::MappedComponent mapped = [&] {
      try {
        return models::map_component(
            *model_.family, component.source, model_.naming, output_naming(plan_.options.layout));
      } catch (const Error& error) {
        if (model_.single_file) throw;  // it names the file
        fail(error.kind(), "{}: {}", component.folder.path.string(), Shown{error.what()});
      }
    }();
    for (const MappedTensor& tensor : mapped.tensors) {
      plan_.tensors.push_back({.component = index, .mapped = tensor});
    }
    note_left_out(component.name, mapped.foreign);
  }

  void note_left_out(const std::string& component, const std::vector<std::string>& names) {
    if (names.empty() || model_.naming == Naming::mflux) return;
    plan_.notes.push_back(fmt::format(
        "{}: {} tensor(s) that no picture needs are left out, such as '{}'",
        component,
        names.size(),
        names.front()));
  }

  void attach_deltas(PlannedTensor& tensor) {
    const std::string& component = model_.components[tensor.component].name;
    for (const models::Piece& piece : tensor.mapped.pieces) {
      const auto it = plan_.contributions->find(full_name(component, piece.canonical));
      const bool found = it != plan_.contributions->end();
      tensor.deltas.push_back(found ? &it->second : nullptr);
      if (found && !tensor.mapped.transpose.none()) {
        fail(
            ErrorKind::lora,
            "{}/{}: a LoRA targets this convolution, whose layout changes in --layout {}; only "
            "linear layers can be merged there",
            component,
            piece.canonical,
            to_string(plan_.options.layout));
      }
    }
  }

  void gather_whole_groups() {
    plan_.whole_groups = find_whole_groups(model_, plan_);
    check_whole_memory(plan_.whole_groups, plan_.options.max_memory);
  }

  std::optional<QuantFormat> source_format(const PlannedTensor& tensor) const {
    if (tensor.mapped.pieces.empty()) return std::nullopt;
    const auto& sources = model_.components[tensor.component].tensors;
    return sources[tensor.mapped.pieces.front().source].format;
  }

  void choose_format(PlannedTensor& tensor) {
    const std::optional<QuantFormat> stored = source_format(tensor);
    if (plan_.format && !plan_.options.quantize_at_load) {
      tensor.format = models::quantization(
          *model_.family, model_.components[tensor.component].name, tensor.mapped, *plan_.format);
      if (stored && tensor.format && stored != tensor.format) requantized_ = true;
    } else if (stored && plan_.options.layout == Layout::mflux && !full_precision_) {
      tensor.format = stored;
    } else if (stored) {
      dequantized_ = true;
    }
    raise_bits(tensor);
    tensor.keeps_delta = tensor.baked() && tensor.format && rounds_by_delta(stored.has_value());
    tensor.copied = !tensor.baked() && tensor.mapped.transpose.none() && stored_as_planned(tensor);
  }

  void raise_bits(PlannedTensor& tensor) const {
    const auto it = bits_.find(plan_.name_of(tensor));
    if (it == bits_.end() || !tensor.format) return;
    tensor.raised_from = tensor.format->bits;
    tensor.format->bits = it->second;
  }

  bool rounds_by_delta(bool packed_base) const {
    const BakeRounding asked = plan_.options.rounding;
    return asked == BakeRounding::delta || (asked == BakeRounding::automatic && packed_base);
  }

  bool stored_as_planned(const PlannedTensor& tensor) const {
    const auto& sources = model_.components[tensor.component].tensors;
    return std::all_of(
        tensor.mapped.pieces.begin(), tensor.mapped.pieces.end(), [&](const models::Piece& piece) {
          const LogicalTensor& source = sources[piece.source];
          return source.format == tensor.format && source.spec.dtype == tensor.mapped.dtype;
        });
  }

  void add_notes() {
    if (requantized_) {
      plan_.notes.push_back(
          "The model is already quantized and is quantized again, which loses precision twice; "
          "bake from the full-precision model if you have it");
    }
    if (dequantized_) {
      plan_.notes.push_back(
          "The model is quantized; the output has full-precision dtypes but not the precision that "
          "quantization lost");
    }
    note_rounding();
    if (plan_.format && plan_.format->mode != QuantMode::affine &&
        plan_.options.layout == Layout::mflux) {
      plan_.notes.push_back(fmt::format(
          "Python mflux cannot load {} folders; mflux.cpp can",
          quant_mode_name(plan_.format->mode)));
    }
    if (!absent_.empty() && plan_.options.layout != Layout::comfyui) {
      plan_.notes.push_back(
          model_.single_file
              ? "The source is one file: the output holds the transformer alone, without text "
                "encoders, VAE and tokenizers"
              : fmt::format(
                    "The source has no {}, so the output has none either",
                    fmt::join(absent_, ", ")));
    }
  }

  void note_rounding() {
    const auto any = [&](auto condition) {
      return std::any_of(plan_.tensors.begin(), plan_.tensors.end(), condition);
    };
    if (any([](const PlannedTensor& tensor) { return tensor.keeps_delta; })) {
      plan_.notes.push_back(
          "Codes are rounded so that the LoRAs survive (--rounding delta): their share is kept, "
          "with some noise on top; docs/quantization.md");
    }
    if (any([&](const PlannedTensor& tensor) {
          return tensor.baked() && source_format(tensor) && !tensor.keeps_delta;
        })) {
      plan_.notes.push_back(
          "A LoRA is merged into weights that are already quantized: what is smaller than their "
          "rounding step is lost. Watch the share kept, or bake from the full-precision model");
    }
  }

  const Checkpoint& model_;
  lora::Loaded& loras_;
  const BitsByTensor& bits_;
  Plan plan_;
  std::vector<std::string> absent_ = {};
  bool full_precision_ = false;
  bool requantized_ = false;
  bool dequantized_ = false;
};

}  // namespace

Plan make_plan(
    const Checkpoint& model,
    lora::Loaded& loras,
    const SaveOptions& options,
    const BitsByTensor& bits) {
  return Planner(model, loras, options, bits).make();
}

}  // namespace mflux
