// SPDX-License-Identifier: MIT
// Blocks and layers of the tables are joined to full names, and composites to lists of them. For
// mflux's names a flat list of stages is counted anew: stage and place from one number, and back.
#include "mflux/models/spelling.h"

#include <algorithm>

#include "mflux/base/error.h"

namespace mflux::models {
namespace {

std::string_view or_same(std::string_view other, std::string_view same) {
  return other.empty() ? same : other;
}

Spelling spell_one(const FullLayer& full, size_t number, Naming naming) {
  const Layer& layer = *full.layer;
  const std::string_view weight = canonical_weight(layer.kind);
  Spelling spelling{
      .module = full.name,
      .parts = {number},
      .rows = Rows::equal,
      .weights = {weight},
      .has_bias = layer.bias && layer.kind != Kind::constant};
  if (naming != Naming::mflux) return spelling;
  const Block& block = *full.block;
  spelling.module = join(or_same(block.mflux, block.name), or_same(layer.mflux, layer.name));
  if (is_gamma(layer.kind)) spelling.weights = {"weight"};
  spelling.copies = !block.copied_into.empty();
  spelling.flat = block.flat;
  return spelling;
}

size_t number_of(std::string_view name, const std::vector<FullLayer>& layers) {
  const auto found = std::ranges::find(layers, name, &FullLayer::name);
  if (found == layers.end()) fail("the tables name a layer '{}' that they do not have", name);
  return static_cast<size_t>(found - layers.begin());
}

}  // namespace

bool is_conv(Kind kind) {
  return kind == Kind::conv2d || kind == Kind::conv3d;
}
bool is_gamma(Kind kind) {
  return kind == Kind::gamma3d || kind == Kind::gamma4d;
}

std::string_view canonical_weight(Kind kind) {
  if (kind == Kind::constant) return "";
  return is_gamma(kind) ? "gamma" : "weight";
}

std::string weight_name(std::string_view module, std::string_view weight) {
  return join(module, weight);
}

std::vector<FullLayer> all_layers(const Component& component) {
  std::vector<FullLayer> layers;
  for (const Block& block : component.blocks) {
    for (const Layer& layer : block.layers) {
      layers.push_back({.name = join(block.name, layer.name), .layer = &layer, .block = &block});
    }
  }
  return layers;
}

const Component& component_of(const Family& family, std::string_view name) {
  for (const Component* component : family.components) {
    if (component->name == name || (name.empty() && component->single_file)) return *component;
  }
  std::string known;
  for (const Component* component : family.components) {
    known += known.empty() ? "" : ", ";
    known += component->name;
  }
  fail("{} has no component '{}'; it has {}", family.title, name, known);
}

Spelling spell(const Composite& composite, const std::vector<FullLayer>& layers) {
  Spelling spelling{.module = std::string(composite.name), .rows = composite.rows};
  for (const std::string_view part : composite.parts) {
    if (!part.empty()) spelling.parts.push_back(number_of(part, layers));
  }
  spelling.has_bias = layers[spelling.parts.front()].layer->bias;
  spelling.weights = {"weight"};
  if (composite.scale) spelling.weights.insert(spelling.weights.begin(), "scale");
  return spelling;
}

std::vector<Spelling> spellings(
    const Component& component, const std::vector<FullLayer>& layers, Naming naming) {
  std::vector<Spelling> result;
  if (naming == Naming::original && !component.original.empty()) {
    for (const Composite& composite : component.original) {
      result.push_back(spell(composite, layers));
    }
    return result;
  }
  for (size_t i = 0; i < layers.size(); ++i) result.push_back(spell_one(layers[i], i, naming));
  return result;
}

std::vector<std::string> readings(const Component& component, std::string_view name) {
  std::vector<std::string> result = {std::string(name)};
  for (const Respelling& respelling : component.respellings) {
    if (!name.starts_with(respelling.other)) continue;
    result.push_back(
        std::string(respelling.canonical).append(name.substr(respelling.other.size())));
  }
  return result;
}

Indices to_flat(const Stages& stages, const Indices& staged) {
  uint32_t number = 0;
  const size_t stage = staged.at[0];
  for (size_t i = 0; i < stage && i < stages.size(); ++i) number += stages[i] + 1;
  if (staged.count == 2) {
    number += staged.at[1];
  } else if (stage < stages.size()) {
    number += stages[stage];
  }
  return {.at = {number, 0}, .count = 1};
}

Indices from_flat(const Stages& stages, const Indices& flat) {
  uint32_t place = flat.at[0];
  uint32_t stage = 0;
  while (stage < stages.size() && place > stages[stage]) {
    place -= stages[stage] + 1;
    ++stage;
  }
  return {.at = {stage, place}, .count = 2};
}

Indices spelled_at(const Spelling& spelling, const Stages& stages, const Indices& at) {
  return spelling.flat ? from_flat(stages, at) : at;
}

std::vector<PartRows> part_rows(Rows rows, const std::vector<uint64_t>& counts) {
  if (rows == Rows::swapped) {
    const uint64_t half = counts.front() / 2;
    return {
        {.part = 0, .begin = half, .count = half, .whole = 0},
        {.part = 0, .begin = 0, .count = half, .whole = half}};
  }
  std::vector<PartRows> result;
  uint64_t whole = 0;
  for (size_t part = 0; part < counts.size(); ++part) {
    result.push_back({.part = part, .begin = 0, .count = counts[part], .whole = whole});
    whole += counts[part];
  }
  return result;
}

}  // namespace mflux::models
