// SPDX-License-Identifier: MIT
// Which families there are, which of them a set of headers is, and the names of well-known models.
#include <algorithm>
#include <array>
#include <optional>

#include "mflux/base/error.h"
#include "mflux/models/canonical.h"
#include "mflux/models/config.h"
#include "mflux/models/family.h"
#include "mflux/models/flux/tables.h"
#include "mflux/models/foreign.h"
#include "mflux/models/qwen/tables.h"

namespace mflux::models {
namespace {

// Of the variants of a family the plain one comes first; the last has every layer of the others.
constexpr auto kFamilies = std::to_array<const Family*>({
    &flux::kFamily,
    &qwen::kFamily,
    &qwen::kEditFamily,
});

// Models that are not ours, so that the refusal can say what was found.
struct Foreign {
  std::string_view mark;  // part of the class name, or a piece of a tensor name
  std::string_view title;
};
constexpr std::array kForeignClasses = {
    Foreign{"Flux2", "FLUX.2"},
    Foreign{"FluxControlNetModel", "a FLUX.1 ControlNet"},
    Foreign{"Chroma", "Chroma"},
    Foreign{"StableDiffusionXL", "Stable Diffusion XL"},
    Foreign{"SD3", "Stable Diffusion 3"},
    Foreign{"StableDiffusion3", "Stable Diffusion 3"},
    Foreign{"UNet2DCondition", "Stable Diffusion (a UNet)"},
    Foreign{"ZImage", "Z-Image"},
    Foreign{"HunyuanVideo", "HunyuanVideo"},
    Foreign{"HunyuanImage", "HunyuanImage"},
    Foreign{"Wan", "Wan"},
    Foreign{"Lumina", "Lumina"},
    Foreign{"Sana", "Sana"},
    Foreign{"PixArt", "PixArt"},
    Foreign{"QwenImageLayered", "Qwen-Image-Layered"},
    Foreign{"QwenImageControlNetModel", "a Qwen-Image ControlNet"},
};
// Pieces that no tensor of ours has.
constexpr std::array kForeignTensors = {
    Foreign{"lora_down.weight", "a LoRA; give it with --lora"},
    Foreign{"lora_A.", "a LoRA; give it with --lora"},
    Foreign{"lora_unet_", "a LoRA; give it with --lora"},
    Foreign{"double_stream_modulation", "FLUX.2"},
    Foreign{"single_stream_modulation", "FLUX.2"},
    Foreign{"to_qkv_mlp_proj", "FLUX.2"},
    Foreign{"distilled_guidance_layer", "Chroma"},
    Foreign{"img_mlp.gate_layer", "Qwen-Image 2"},
    Foreign{"addition_t_embedding", "Qwen-Image-Layered"},
    Foreign{"noise_refiner.", "Z-Image or Lumina"},
    Foreign{"img_attn_qkv.", "HunyuanVideo"},
    Foreign{"joint_blocks.", "Stable Diffusion 3"},
    Foreign{"add_embedding.linear_1", "Stable Diffusion XL (a UNet)"},
    Foreign{"label_emb.0.0", "Stable Diffusion XL (a UNet)"},
    Foreign{"input_blocks.", "Stable Diffusion (a UNet)"},
    Foreign{"time_embedding.linear_1", "Stable Diffusion (a UNet)"},
    Foreign{"pos_embed.proj", "Stable Diffusion 3 or PixArt"},
    Foreign{"controlnet_blocks.", "a ControlNet"},
};

bool is_transformer(const SourceComponent& component) {
  return !component.tensors.empty() && (component.name.empty() || component.name == "transformer");
}

// model_index.json, which comes as a component without tensors.
bool is_pipeline(const SourceComponent& component) {
  return component.name.empty() && component.tensors.empty() && !component.config.empty();
}

std::string config_file(const SourceComponent& component) {
  if (is_pipeline(component)) return "model_index.json";
  return component.name.empty() ? "config.json" : component.name + "/config.json";
}

std::string class_of(const SourceComponent& component) {
  return config_class(component.config, config_file(component));
}

// "a, b or c"
std::string one_of(std::span<const std::string_view> list) {
  std::string text;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i != 0) text += i + 1 == list.size() ? " or " : ", ";
    text += list[i];
  }
  return text;
}

std::string expected_families() {
  std::vector<std::string_view> titles;
  for (const Family* family : kFamilies) titles.push_back(family->title);
  return "expected " + one_of(titles);
}

[[noreturn]] void refuse_class(const SourceComponent& component, std::string_view class_name) {
  for (const Foreign& foreign : kForeignClasses) {
    if (class_name.find(foreign.mark) == class_name.npos) continue;
    fail(
        "{} says '{}': this is {}; {}",
        config_file(component),
        class_name,
        foreign.title,
        expected_families());
  }
  fail("{} says '{}'; {}", config_file(component), class_name, expected_families());
}

void refuse_foreign_tensors(const std::vector<SourceComponent>& components) {
  for (const SourceComponent& component : components) {
    if (!is_transformer(component) && component.name != "unet") continue;
    for (const Foreign& foreign : kForeignTensors) {
      for (const SourceComponent::Tensor& tensor : component.tensors) {
        if (tensor.name.find(foreign.mark) == std::string::npos) continue;
        fail(
            "{}tensor '{}' looks like {}; {}",
            component.name.empty() ? "" : component.name + ": ",
            tensor.name,
            foreign.title,
            expected_families());
      }
    }
  }
}

const Component& transformer_of(const Family& family) {
  return component_of(family, "");
}

const Family* family_of_class(std::string_view class_name) {
  for (const Family* family : kFamilies) {
    if (transformer_of(*family).class_name == class_name) return family;
  }
  return nullptr;
}

bool has_component(const Family& family, std::string_view name) {
  return name.empty() || std::ranges::any_of(family.components, [name](const Component* component) {
           return component->name == name;
         });
}

// A reading of all components and how many of their tensors it explains.
struct Score {
  const Family* family = nullptr;
  Naming naming = Naming::diffusers;
  size_t known = 0;
};

size_t score(const std::vector<SourceComponent>& components, const Family& family, Naming naming) {
  size_t known = 0;
  for (const SourceComponent& component : components) {
    if (component.tensors.empty() || !has_component(family, component.name)) continue;
    if (naming == Naming::original && !is_transformer(component)) continue;
    known += known_names(component_of(family, component.name), component, naming);
  }
  return known;
}

// Where names cannot tell: one file is the original, metadata tells mflux's, else a diffusers
// folder.
std::array<Naming, 3> preference(const std::vector<SourceComponent>& components) {
  const bool saved = std::ranges::any_of(components, &SourceComponent::saved_by_mflux);
  const bool single = std::ranges::any_of(
      components, [](const auto& c) { return c.name.empty() && !c.tensors.empty(); });
  if (single) return {Naming::original, Naming::diffusers, Naming::mflux};
  if (saved) return {Naming::mflux, Naming::diffusers, Naming::original};
  return {Naming::diffusers, Naming::mflux, Naming::original};
}

Score best_score(const std::vector<SourceComponent>& components, const Family* only) {
  Score best;
  for (const Naming naming : preference(components)) {
    for (const Family* family : kFamilies) {
      if (only != nullptr && family != only) continue;
      const size_t known = score(components, *family, naming);
      if (best.family == nullptr || known > best.known) best = {family, naming, known};
    }
  }
  return best;
}

size_t tensor_count(const std::vector<SourceComponent>& components) {
  size_t count = 0;
  for (const SourceComponent& component : components) count += component.tensors.size();
  return count;
}

[[noreturn]] void refuse_unknown(const std::vector<SourceComponent>& components) {
  for (const SourceComponent& component : components) {
    if (component.tensors.empty()) continue;
    fail(
        "cannot tell what model this is: {} has {} tensors such as '{}'; {}",
        component.name.empty() ? "the file" : component.name,
        component.tensors.size(),
        component.tensors.front().name,
        expected_families());
  }
  fail("no tensors found; {}", expected_families());
}

bool shows_variant(
    const std::vector<SourceComponent>& components, const Family& variant, Naming naming) {
  for (const SourceComponent& component : components) {
    if (is_pipeline(component) && class_of(component).find(variant.pipeline) != std::string::npos) {
      return true;
    }
    if (is_transformer(component) && !variant.evidence_key.empty() &&
        config_flag(component.config, variant.evidence_key, config_file(component))) {
      return true;
    }
    if (naming != Naming::mflux || !has_component(variant, component.name)) continue;
    const Component& table = component_of(variant, component.name);
    for (const Block& block : table.blocks) {
      if (block.name != variant.evidence) continue;
      const std::string prefix = std::string(block.mflux) + ".";
      const auto is_of_block = [&](const auto& t) { return t.name.starts_with(prefix); };
      if (std::ranges::any_of(component.tensors, is_of_block)) return true;
    }
  }
  return false;
}

// The member of the family: what the files show, else what was asked for, else the plain one.
const Family* variant_of(
    const std::vector<SourceComponent>& components,
    const Family& family,
    Naming naming,
    const Family* asked) {
  for (const Family* other : kFamilies) {
    if (other->name != family.name || other->pipeline.empty()) continue;
    if (shows_variant(components, *other, naming)) return other;
  }
  return asked != nullptr && asked->name == family.name ? asked : find_family(family.name);
}

// By config.json's class, or none if no transformer has one.
const Family* family_by_class(const std::vector<SourceComponent>& components) {
  for (const SourceComponent& component : components) {
    if (!is_transformer(component) && component.name != "unet") continue;
    const std::string class_name = class_of(component);
    if (class_name.empty()) continue;
    const Family* family = family_of_class(class_name);
    if (family == nullptr) refuse_class(component, class_name);
    return family;
  }
  return nullptr;
}

void refuse_foreign_pipeline(const std::vector<SourceComponent>& components) {
  for (const SourceComponent& component : components) {
    if (!is_pipeline(component)) continue;
    const std::string class_name = class_of(component);
    const bool foreign = std::ranges::any_of(kForeignClasses, [&](const Foreign& f) {
      return class_name.find(f.mark) != std::string::npos;
    });
    if (foreign) refuse_class(component, class_name);
  }
}

}  // namespace

const Family* find_family(std::string_view name) {
  const auto found = std::ranges::find(kFamilies, name, &Family::variant);
  return found == kFamilies.end() ? nullptr : *found;
}

std::vector<const Family*> families() {
  std::vector<const Family*> plain;
  for (const Family* family : kFamilies) {
    if (family->name == family->variant) plain.push_back(family);
  }
  return plain;
}

const Family& widest_variant(const Family& family) {
  return **std::ranges::find(kFamilies.rbegin(), kFamilies.rend(), family.name, &Family::name);
}

std::string family_names() {
  std::vector<std::string_view> names;
  for (const Family* family : families()) names.push_back(family->name);
  return one_of(names);
}

std::string family_titles() {
  std::vector<std::string_view> titles;
  for (const Family* family : families()) titles.push_back(family->title);
  return one_of(titles);
}

const lora::Family& lora_family(const Family& family) {
  return *family.lora_family;
}

lora::Families lora_families() {
  static const std::vector<const lora::Family*> kAll = [] {
    std::vector<const lora::Family*> all;
    for (const Family* family : families()) all.push_back(family->lora_family);
    return all;
  }();
  return kAll;
}

std::string_view release_title(
    const Family& family, const std::map<std::string, Shape>& transformer) {
  if (family.releases.empty()) return family.variant;
  for (const Release& release : family.releases) {
    const auto tensor = transformer.find(std::string(release.tensor));
    if (tensor == transformer.end()) continue;
    if (release.columns == 0 || tensor->second.back() == release.columns) return release.title;
  }
  return "";
}

std::string_view family_name(const Family& family) {
  return family.name;
}
std::string_view family_variant(const Family& family) {
  return family.variant;
}
std::string_view family_title(const Family& family) {
  return family.title;
}

std::vector<std::string> weight_components(const Family& family) {
  std::vector<std::string> names;
  for (const Component* component : family.components) names.emplace_back(component->name);
  return names;
}

std::vector<std::string> copied_folders(const Family& family) {
  return {family.copied.begin(), family.copied.end()};
}

std::vector<std::string> tokenizer_folders(const Family& family) {
  std::vector<std::string> names;
  for (const PromptTokenizer& tokenizer : family.tokenizers) names.emplace_back(tokenizer.folder);
  return names;
}

Identified identify(const std::vector<SourceComponent>& components, const Family* asked) {
  refuse_foreign_pipeline(components);
  const Family* family = family_by_class(components);
  refuse_foreign_tensors(components);
  for (const SourceComponent& component : components) refuse_packed_format(component);
  const Score best = best_score(components, family);
  if (family == nullptr && best.known * 2 < std::max<size_t>(tensor_count(components), 1)) {
    refuse_unknown(components);
  }
  if (asked != nullptr && asked->name != best.family->name) {
    fail(
        ErrorKind::usage,
        "the model is {}, but {} was asked for",
        best.family->title,
        asked->title);
  }
  return {
      .family = variant_of(components, *best.family, best.naming, asked), .naming = best.naming};
}

const KnownModel* find_known_model(std::string_view name) {
  for (const Family* family : kFamilies) {
    const auto found = std::ranges::find(family->models, name, &KnownModel::name);
    if (found != family->models.end()) return &*found;
  }
  return nullptr;
}

}  // namespace mflux::models
