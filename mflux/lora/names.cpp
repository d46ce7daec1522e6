// SPDX-License-Identifier: MIT
// Prefixes are taken off as long as what is left is not a name itself; then the name is looked up,
// as it is or flat. Only where that fails is it compared with known names, by edit distance between
// names whose numbers are left out, and for a limited number of them.
#include "mflux/lora/names.h"

#include <algorithm>
#include <array>
#include <functional>

#include <fmt/format.h>

#include "mflux/base/edit_distance.h"

namespace mflux::lora {
namespace {

constexpr std::string_view kTransformer = "transformer";
constexpr size_t kMaxCompared = 300;  // different unknown names that are compared with the known
constexpr size_t kMaxComparedLength = 200;
constexpr size_t kMaxSequences = 8;  // of PyTorch in one name; a model has one or two
constexpr uint64_t kMaxBlocks = 10'000;

struct Prefix {
  std::string_view text;
  std::string_view dialect;
};

// May stand one before the other, as often as they like.
constexpr std::array kDotted = {
    Prefix{"model.diffusion_model.", "ComfyUI"},
    Prefix{"diffusion_model.", "ComfyUI"},
    Prefix{"base_model.model.", "PEFT"},
    Prefix{"transformer.", "diffusers"},
    Prefix{"pipe.dit.", "DiffSynth"},
    Prefix{"dit.", "DiffSynth"},
    Prefix{"unet.", "diffusers"},
};

// Longest first.
constexpr std::array kFlat = {
    Prefix{"lora_unet_model_diffusion_model_", "kohya"},
    Prefix{"lora_transformer_", "OneTrainer"},
    Prefix{"lora_unet__", "LyCORIS"},
    Prefix{"lora_unet_", "kohya"},
    Prefix{"oft_unet_", "kohya"},
    Prefix{"lycoris__", "LyCORIS"},
    Prefix{"lycoris_", "LyCORIS"},
};

// Text encoders, whatever the family: it may have prefixes of its own.
constexpr std::array kTextEncoders = {
    ComponentPrefix{"text_encoder_2.", "text_encoder_2"},
    ComponentPrefix{"text_encoder_3.", "text_encoder_3"},
    ComponentPrefix{"text_encoder.", "text_encoder"},
    ComponentPrefix{"lora_te1_", "text_encoder"},
    ComponentPrefix{"lora_te2_", "text_encoder_2"},
    ComponentPrefix{"lora_te_", "text_encoder"},
};

constexpr std::string_view kSequence = ".layers.";
constexpr std::string_view kPeftPrefix = "base_model.model.";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Block numbers replaced by #, dots by underscores.
std::string shape_of(std::string_view name) {
  std::string shape;
  for (const char c : name) {
    if (!is_digit(c)) {
      shape += c == '.' ? '_' : c;
    } else if (shape.empty() || shape.back() != '#') {
      shape += '#';
    }
  }
  return shape;
}

std::string_view without_trailing_underscores(std::string_view name) {
  while (name.ends_with('_')) name.remove_suffix(1);
  return name;
}

}  // namespace

std::string flatten(std::string_view name) {
  std::string flat(name);
  std::ranges::replace(flat, '.', '_');
  return flat;
}

Names::Names(const BaseModel& model)
    : targets_(model.targets), prefixes_(kTextEncoders.begin(), kTextEncoders.end()) {
  for (const Family* family : model.families) {
    prefixes_.insert(prefixes_.end(), family->prefixes.begin(), family->prefixes.end());
  }
  std::ranges::stable_sort(
      prefixes_, std::ranges::greater{}, [](const ComponentPrefix& p) { return p.text.size(); });
  for (Target& target : targets_) {
    Component& component = components_[target.component];
    component.longest = std::max(component.longest, target.alias.size());
    if (!component.dotted.emplace(target.alias, &target).second) continue;
    const auto [flat, is_new] = component.flat.emplace(flatten(target.alias), &target);
    if (!is_new && flat->second != nullptr && flat->second->rows != target.rows) {
      flat->second = nullptr;
    }
    component.shapes.emplace(shape_of(target.alias), &target);
  }
}

const Target* Names::find(std::string_view component, std::string_view name) const {
  const auto names = components_.find(component);
  if (names == components_.end() || name.size() > names->second.longest) return nullptr;
  const auto found = names->second.dotted.find(name);
  return found == names->second.dotted.end() ? nullptr : found->second;
}

const Target* Names::find_flat(std::string_view component, std::string_view name) const {
  const auto names = components_.find(component);
  if (names == components_.end() || name.size() > names->second.longest) return nullptr;
  const auto found = names->second.flat.find(flatten(name));
  return found == names->second.flat.end() ? nullptr : found->second;
}

// MLX calls the layers of a sequence "X.layers.0"; PyTorch calls them "X.0".
Place Names::resolve(std::string_view module) const {
  Place place = resolve_as_is(module);
  std::string name(module);
  size_t sequences = 0;
  for (size_t at = 0; place.target == nullptr && (at = name.find(kSequence, at)) != name.npos;) {
    const size_t number = at + kSequence.size();
    if (number < name.size() && is_digit(name[number])) {
      if (++sequences > kMaxSequences) break;
      name.erase(at, kSequence.size() - 1);
      if (const Place other = resolve_as_is(name); other.target != nullptr) return other;
    } else {
      at = number;
    }
  }
  return place;
}

Place Names::resolve_as_is(std::string_view module) const {
  Place place;
  if (resolve_text_encoder(module, place)) return place;
  place.component = kTransformer;
  place.dialect = "bare names";
  if (!resolve_dotted(module, place) && !resolve_flat(place.name, place)) {
    place.target = find_flat(kTransformer, place.name);
  }
  if (place.target != nullptr) place.name = place.target->alias;
  if (place.name.find(".processor.") != std::string::npos) {
    place.dialect = "XLabs";
  }
  return place;
}

bool Names::resolve_text_encoder(std::string_view module, Place& place) const {
  const auto prefix = std::ranges::find_if(prefixes_, [&](const ComponentPrefix& candidate) {
    return module.starts_with(candidate.text);
  });
  if (prefix == prefixes_.end()) return false;
  module.remove_prefix(prefix->text.size());
  place.component = prefix->component;
  if (prefix->text.ends_with('_')) {
    place.target = find_flat(place.component, module);
    if (place.target == nullptr) {
      place.target = find_flat(place.component, without_trailing_underscores(module));
    }
  } else {
    if (module.starts_with(kPeftPrefix)) module.remove_prefix(kPeftPrefix.size());
    place.target = find(place.component, module);
  }
  place.name = place.target == nullptr ? module : place.target->alias;
  return true;
}

// Strips only what does not resolve as it is, so names that begin like a prefix are safe.
bool Names::resolve_dotted(std::string_view module, Place& place) const {
  while (true) {
    place.name = module;
    place.target = find(kTransformer, module);
    if (place.target != nullptr) return true;
    const auto prefix = std::ranges::find_if(
        kDotted, [&](const Prefix& candidate) { return module.starts_with(candidate.text); });
    if (prefix == kDotted.end()) return false;
    module.remove_prefix(prefix->text.size());
    place.dialect = prefix->dialect;
  }
}

bool Names::resolve_flat(std::string_view module, Place& place) const {
  const std::string whole(module);  // place.name is about to change
  for (const Prefix& prefix : kFlat) {
    if (!whole.starts_with(prefix.text)) continue;
    const std::string_view rest = std::string_view(whole).substr(prefix.text.size());
    place.target = find_flat(kTransformer, rest);
    if (place.target == nullptr) {
      place.target = find_flat(kTransformer, without_trailing_underscores(rest));
    }
    // The longest prefix is what an unknown name is taken to have.
    if (place.target != nullptr || place.name == whole) {
      place.name = rest;
      place.dialect = prefix.dialect;
    }
    if (place.target != nullptr) return true;
  }
  return false;
}

std::string Names::nearest(const Place& unknown) {
  const auto names = components_.find(unknown.component);
  if (names == components_.end() || unknown.name.size() > kMaxComparedLength) return "";
  const std::string shape = shape_of(unknown.name);
  const std::string key = unknown.component + ":" + shape;
  auto found = nearest_.find(key);
  if (found == nearest_.end()) {
    if (nearest_.size() >= kMaxCompared) return "";
    size_t best = ~size_t{0};
    std::string alias;
    for (const auto& [known, target] : names->second.shapes) {
      const size_t distance = edit_distance(shape, known);
      if (distance < best) {
        best = distance;
        alias = target->alias;
      }
    }
    found = nearest_.emplace(key, alias).first;
  }
  return found->second;
}

std::string Names::missing_block(const Place& unknown) const {
  const std::string& name = unknown.name;
  const size_t begin = static_cast<size_t>(std::ranges::find_if(name, is_digit) - name.begin());
  if (begin == name.size()) return "";
  size_t end = begin;
  while (end < name.size() && is_digit(name[end])) ++end;
  const auto exists = [&](uint64_t block) {
    return find_flat(
               unknown.component,
               fmt::format("{}{}{}", name.substr(0, begin), block, name.substr(end))) != nullptr;
  };
  uint64_t count = 0;
  while (count < kMaxBlocks && exists(count)) ++count;
  if (count == 0) return "";
  return fmt::format(
      "block {} does not exist: the model has {}", name.substr(begin, end - begin), count);
}

}  // namespace mflux::lora
