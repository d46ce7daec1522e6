// SPDX-License-Identifier: MIT
// A component's tables unfolded for one naming: every layer as a pattern and what it is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/models/component.h"
#include "mflux/models/names.h"
#include "mflux/models/tables.h"

namespace mflux::models {

// A layer of the tables with its full canonical pattern.
struct FullLayer {
  std::string name;
  const Layer* layer = nullptr;
  const Block* block = nullptr;
};
std::vector<FullLayer> all_layers(const Component& component);

// The family's component of this name; "" is the transformer, which alone comes as a single file.
const Component& component_of(const Family& family, std::string_view name);

struct Spelling {
  // A pattern.
  std::string module = {};
  // Numbers in all_layers(), in row order.
  std::vector<size_t> parts = {};
  Rows rows = Rows::equal;
  // Names of the weight, of which the first is written; {""}: the module itself.
  std::vector<std::string_view> weights = {};
  bool has_bias = false;
  // The last {} of `module` is not one of the canonical name's.
  bool copies = false;
  // The {} of `module` are a stage and a place, see Stages.
  bool flat = false;
};

// The number of resnets in each stage of a flat list (Block::flat).
using Stages = std::vector<uint32_t>;
Indices to_flat(const Stages& stages, const Indices& staged);
Indices from_flat(const Stages& stages, const Indices& flat);  // stage and place

// The numbers in `spelling` of a layer with these canonical numbers.
Indices spelled_at(const Spelling& spelling, const Stages& stages, const Indices& at);
std::vector<Spelling> spellings(
    const Component& component, const std::vector<FullLayer>& layers, Naming naming);

// A Composite of the tables (original names or a LoRA's aliases) as a spelling.
Spelling spell(const Composite& composite, const std::vector<FullLayer>& layers);

// Every way in which `name` may be meant, itself first.
std::vector<std::string> readings(const Component& component, std::string_view name);

// Rows of one part that are rows of the whole.
struct PartRows {
  size_t part = 0;
  uint64_t begin = 0;  // in the part
  uint64_t count = 0;
  uint64_t whole = 0;  // first row in the whole
};
std::vector<PartRows> part_rows(Rows rows, const std::vector<uint64_t>& counts);

std::string weight_name(std::string_view module, std::string_view weight);  // "module.weight"
std::string_view canonical_weight(Kind kind);  // "weight", "gamma", or "" for a constant
bool is_conv(Kind kind);
bool is_gamma(Kind kind);

}  // namespace mflux::models
