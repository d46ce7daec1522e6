// SPDX-License-Identifier: MIT
// A file with one key of a LoRA is one. Of any other, names tell what it is: parts that only one
// kind of file has, then the layers themselves, compared with the model's.
#include "mflux/lora/stranger.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "mflux/lora/grammar.h"
#include "mflux/safetensors/wrappers.h"

namespace mflux::lora {
namespace {

// Part of a name with a dot before it.
struct Sign {
  std::string_view part;
  std::string_view what;
};

constexpr std::string_view kCheckpoint = "a whole checkpoint; --model takes the transformer's file";
constexpr std::string_view kControlNet = "a ControlNet, which works beside the model";
constexpr std::string_view kIpAdapter = "an IP-Adapter, which works on inputs of its own";
constexpr std::string_view kEmbedding = "a textual inversion (an embedding for the prompt)";
constexpr std::string_view kVae = "a VAE; the model brings its own";
constexpr std::string_view kTextEncoder = "a text encoder; the model brings its own";

// What may stand anywhere in a name. The first that is found counts.
constexpr std::array kAnywhere = {
    Sign{".cond_stage_model.", kCheckpoint},
    Sign{".conditioner.embedders.", kCheckpoint},
    Sign{".controlnet_", kControlNet},
    Sign{".control_model.", kControlNet},
    Sign{".input_hint_block.", kControlNet},
    Sign{".zero_convs.", kControlNet},
    Sign{".ip_adapter", kIpAdapter},
    Sign{".to_k_ip.", kIpAdapter},
    Sign{".image_proj.", kIpAdapter},
    Sign{".pulid_", "PuLID, which works on inputs of its own"},
    Sign{".string_to_param.", kEmbedding},
    Sign{".emb_params.", kEmbedding},
};

// What a name must begin with: the components of a LoRA's layers come after a prefix.
constexpr std::array kBeginnings = {
    Sign{".first_stage_model.", kVae},
    Sign{".vae.", kVae},
    Sign{".quant_conv.", kVae},
    Sign{".post_quant_conv.", kVae},
    Sign{".encoder.conv", kVae},
    Sign{".decoder.conv", kVae},
    Sign{".encoder.down", kVae},
    Sign{".decoder.up", kVae},
    Sign{".decoder.layers.", kVae},  // a tiny one
    Sign{".text_model.", kTextEncoder},
    Sign{".text_projection.", kTextEncoder},
    Sign{".shared.", kTextEncoder},
    Sign{".encoder.block.", kTextEncoder},
    Sign{".encoder.layers.", kTextEncoder},
    Sign{".t5_blocks.", kTextEncoder},
    Sign{".model.layers.", kTextEncoder},
    Sign{".model.language_model.", kTextEncoder},
    Sign{".language_model.", kTextEncoder},
    Sign{".model.embed_tokens.", kTextEncoder},
    Sign{".vision_model.", "an image encoder"},
    Sign{".visual.", "an image encoder"},
    Sign{".model.visual.", "an image encoder"},
};

constexpr size_t kMaxEmbeddings = 8;  // tensors of a textual inversion, one for each encoder

// One vector or a few for each text encoder, named after it: "clip_l", "t5xxl".
bool is_embedding(const safetensors::Header& header) {
  return header.tensors.size() <= kMaxEmbeddings &&
         std::ranges::all_of(header.tensors, [](const safetensors::TensorInfo& info) {
           return info.name.find('.') == std::string::npos && is_float(info.spec.dtype) &&
                  !info.spec.shape.empty() && info.spec.shape.size() <= 2;
         });
}

std::string_view what_is(const safetensors::Header& header) {
  if (is_embedding(header)) return kEmbedding;
  for (const Sign& sign : kAnywhere) {
    for (const safetensors::TensorInfo& info : header.tensors) {
      if (fmt::format(".{}.", info.name).find(sign.part) != std::string::npos) return sign.what;
    }
  }
  for (const Sign& sign : kBeginnings) {
    for (const safetensors::TensorInfo& info : header.tensors) {
      const std::string name = safetensors::without_wrappers(info.name);
      if (fmt::format(".{}", name).starts_with(sign.part)) return sign.what;
    }
  }
  return "";
}

bool has_key_of_lora(const safetensors::Header& header) {
  return std::ranges::any_of(
      header.tensors, [](const safetensors::TensorInfo& info) { return is_of_lora(info.name); });
}

using Tensors = std::set<std::string_view>;

void add_tensors(const Target& target, std::map<std::string_view, Tensors>& by_component) {
  for (const TargetRows& rows : target.rows) by_component[rows.component].insert(rows.tensor);
}

// Of a component's tensors that a LoRA may change, a file with this share of them is the component.
constexpr double kWhole = 0.8;

std::string whole_component(const BaseModel& model, std::span<const Module> modules) {
  std::map<std::string_view, Tensors> all;
  std::map<std::string_view, Tensors> replaced;
  for (const Target& target : model.targets) add_tensors(target, all);
  for (const Module& module : modules) {
    if (module.place.target != nullptr) add_tensors(*module.place.target, replaced);
  }
  for (const auto& [component, tensors] : replaced) {
    const size_t of = all.at(component).size();
    if (static_cast<double>(tensors.size()) < kWhole * static_cast<double>(of)) continue;
    return fmt::format(
        "is not a LoRA but a whole model: it would replace {} of the {} weights of the {}; give it "
        "with --model",
        tensors.size(),
        of,
        component);
  }
  return "";
}

constexpr std::array<std::string_view, 2> kFirstLayers = {"x_embedder", "img_in"};
constexpr std::array<std::string_view, 3> kLastLayers = {"proj_out", "final_layer.linear", "out.2"};

bool has_any(std::span<const Module> modules, std::span<const std::string_view> names) {
  return std::ranges::any_of(modules, [&](const Module& module) {
    return std::ranges::find(names, module.place.name) != names.end();
  });
}

// Few names that nobody knows are told one by one.
constexpr size_t kManyModules = 8;

}  // namespace

std::string stranger_to(
    const BaseModel& model, const safetensors::Header& header, std::span<const Module> modules) {
  if (has_key_of_lora(header)) return "";
  if (std::string whole = whole_component(model, modules); !whole.empty()) return whole;
  const auto unknown = static_cast<size_t>(std::ranges::count_if(
      modules, [](const Module& module) { return module.place.target == nullptr; }));
  if (unknown != 0 && has_any(modules, kFirstLayers) && has_any(modules, kLastLayers)) {
    return "is not a LoRA but a whole transformer, of another model or size; --model takes models";
  }
  if (unknown < kManyModules || unknown != modules.size()) return "";
  return fmt::format(
      "is not a LoRA of a known kind: none of its {} tensors has a LoRA's ending (lora_A, "
      "lora_down, ...), and {} has no such layers",
      header.tensors.size(),
      model.title);
}

std::string stranger(const safetensors::Header& header) {
  if (header.tensors.empty() || has_key_of_lora(header)) return "";
  const std::string_view what = what_is(header);
  return what.empty() ? "" : fmt::format("is not a LoRA but {}", what);
}

}  // namespace mflux::lora
