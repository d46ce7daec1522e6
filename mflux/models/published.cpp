// SPDX-License-Identifier: MIT
// Where there is no model, the tables stand in: the published widths and depths make headers. A
// width that the file's matrices show replaces the published one: every matrix is two equations
// over the letters of its layer's shape, solved one unknown at a time.
#include "mflux/models/published.h"

#include <algorithm>
#include <optional>

#include "mflux/base/error.h"
#include "mflux/models/dimensions.h"
#include "mflux/models/names.h"
#include "mflux/models/spelling.h"
#include "mflux/models/tables.h"

namespace mflux::models {
namespace {

// What a dimension is with the widths that are known.
struct Reduced {
  uint64_t known = 0;
  uint64_t factor = 0;  // of the one unknown width
  char unknown = 0;     // 0: none
  bool solvable = true;
};

Reduced reduce(const Dimension& dimension, const std::map<char, uint64_t>& widths) {
  Reduced result;
  for (const Term& term : dimension) {
    const auto found = widths.find(term.width);
    if (found != widths.end()) {
      result.known += term.factor * found->second;
    } else if (term.width == '*' || (result.unknown != 0 && result.unknown != term.width)) {
      result.solvable = false;
    } else {
      result.unknown = term.width;
      result.factor += term.factor;
    }
  }
  return result;
}

// Widths as unknowns, dimensions that were seen as equations.
class Solver {
 public:
  explicit Solver(const Component& table) : layers_(all_layers(table)) {}

  void add(const SeenMatrix& matrix) {
    Dimension rows;
    std::vector<Dimension> shape;
    for (const std::string& name : matrix.layers) {
      const auto layer = std::ranges::find_if(
          layers_, [&](const FullLayer& full) { return match(full.name, name).has_value(); });
      if (layer == layers_.end()) return;
      shape = parse_shape(layer->layer->shape);
      if (shape.size() != (matrix.inputs == 0 ? 1U : 2U)) return;
      rows.insert(rows.end(), shape.front().begin(), shape.front().end());
    }
    if (shape.empty()) return;
    if (matrix.inputs != 0) equations_.emplace_back(std::move(shape.back()), matrix.inputs);
    equations_.emplace_back(std::move(rows), matrix.outputs);
  }

  std::map<char, uint64_t> solve() {
    for (bool is_new = true; is_new;) {
      is_new = false;
      for (const auto& [dimension, value] : equations_) {
        const Reduced reduced = reduce(dimension, widths_);
        if (!reduced.solvable || reduced.unknown == 0 || value <= reduced.known) continue;
        if ((value - reduced.known) % reduced.factor != 0) continue;
        widths_[reduced.unknown] = (value - reduced.known) / reduced.factor;
        is_new = true;
      }
    }
    return std::move(widths_);
  }

 private:
  std::vector<FullLayer> layers_;
  std::vector<std::pair<Dimension, uint64_t>> equations_;
  std::map<char, uint64_t> widths_;
};

Shape shape_of(const Layer& layer, const std::map<char, uint64_t>& widths) {
  Shape shape;
  for (const Dimension& dimension : parse_shape(layer.shape)) {
    const Reduced reduced = reduce(dimension, widths);
    shape.push_back(reduced.solvable && reduced.unknown == 0 ? reduced.known : 1);
  }
  return shape;
}

}  // namespace

std::vector<std::string> published_components(const Family& family) {
  std::vector<std::string> names;
  for (const Component* component : family.components) {
    if (!component->published_widths.empty()) names.emplace_back(component->name);
  }
  return names;
}

Sizes published_sizes(const Family& family, std::string_view component) {
  const Component& table = component_of(family, component);
  if (table.published_widths.empty()) fail("{} has no published '{}'", family.title, component);
  Sizes sizes;
  for (const PublishedWidth& width : table.published_widths)
    sizes.widths[width.letter] = width.value;
  for (const PublishedDepth& block : table.published_depths) {
    sizes.depths[std::string(block.block)] = block.count;
  }
  return sizes;
}

Sizes fit_sizes(
    const Family& family,
    std::string_view component,
    std::span<const SeenMatrix> matrices,
    Sizes sizes) {
  const Component& table = component_of(family, component);
  Solver solver(table);
  for (const SeenMatrix& matrix : matrices) solver.add(matrix);
  const std::map<char, uint64_t> seen = solver.solve();
  for (const PublishedWidth& width : table.published_widths) {
    const auto leader = seen.find(width.follows);
    if (leader == seen.end() || seen.contains(width.letter)) continue;
    const uint64_t product = sizes.widths[width.letter] * leader->second;
    const uint64_t published = sizes.widths[width.follows];
    if (product % published == 0) sizes.widths[width.letter] = product / published;
  }
  for (const auto& [letter, value] : seen) sizes.widths[letter] = value;
  return sizes;
}

SourceComponent sized_component(
    const Family& family, std::string_view component, const Sizes& sizes) {
  SourceComponent source{.name = std::string(component)};
  for (const FullLayer& full : all_layers(component_of(family, component))) {
    const bool is_extra = full.block->optional && full.block->keep != Keep::always;
    if (is_extra || full.layer->optional || full.layer->kind == Kind::constant) continue;
    const auto depth = sizes.depths.find(std::string(full.block->name));
    const auto count = static_cast<uint32_t>(depth == sizes.depths.end() ? 1 : depth->second);
    const TensorSpec weight{Dtype::bf16, shape_of(*full.layer, sizes.widths)};
    for (uint32_t i = 0; i < count; ++i) {
      const std::string module = fill(full.name, {.at = {i, 0}, .count = 1});
      source.tensors.push_back({weight_name(module, canonical_weight(full.layer->kind)), weight});
      if (full.layer->bias) {
        source.tensors.push_back({module + ".bias", {Dtype::bf16, {weight.shape.front()}}});
      }
    }
  }
  return source;
}

}  // namespace mflux::models
