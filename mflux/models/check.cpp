// SPDX-License-Identifier: MIT
// Whether the tensors found are a whole component, and whether their shapes go together.
#include <algorithm>
#include <optional>
#include <tuple>

#include <fmt/ranges.h>

#include "mflux/models/canonical.h"
#include "mflux/models/dimensions.h"
#include "mflux/models/family.h"

namespace mflux::models {
namespace {

// Adds the first number that is missing below the highest one, at each level.
void close_gaps(std::set<Indices>& found) {
  std::map<uint32_t, std::set<uint32_t>> tree;
  for (const Indices& at : found) tree[at.at[0]].insert(at.at[1]);
  if (found.begin()->count == 0) return;
  uint32_t outer = 0;
  while (tree.contains(outer)) ++outer;
  const uint8_t count = found.begin()->count;
  if (outer < tree.rbegin()->first) found.insert(Indices{.at = {outer, 0}, .count = count});
  if (count < 2) return;
  for (const auto& [first, seconds] : tree) {
    uint32_t inner = 0;
    while (seconds.contains(inner)) ++inner;
    if (inner < *seconds.rbegin()) found.insert(Indices{.at = {first, inner}, .count = count});
  }
}

// Adds those that belong between the blocks that are there.
void add_between(
    const CanonicalComponent& component, const Block& block, std::set<Indices>& expected) {
  for (const auto& [other, instances] : component.instances) {
    if (block.between.empty() || other->name != block.between || instances.empty()) continue;
    for (uint32_t i = 0; i < instances.rbegin()->at[0]; ++i) {
      expected.insert(Indices{.at = {i, 0}, .count = 1});
    }
  }
}

// The tensor's name as the file should spell it.
std::string spelled(
    const CanonicalComponent& component,
    const std::vector<Spelling>& spellings,
    size_t layer,
    const Indices& at,
    bool bias) {
  for (const Spelling& spelling : spellings) {
    if (std::ranges::count(spelling.parts, layer) == 0) continue;
    const std::string module = fill(spelling.module, spelled_at(spelling, component.stages, at));
    return weight_name(module, bias ? "bias" : spelling.weights.front());
  }
  return "";
}

// The items of a flat list are of different blocks of the tables, which together have no gap.
void check_flat(const CanonicalComponent& component, Problems& problems) {
  std::set<uint32_t> found;
  std::string_view name;
  for (const auto& [block, instances] : component.instances) {
    if (!block->flat) continue;
    name = block->name;
    for (const Indices& at : instances) found.insert(at.at[0]);
  }
  uint32_t first = 0;
  while (found.contains(first)) ++first;
  if (found.empty() || first > *found.rbegin()) return;
  problems.missing.insert(fill(name, {.at = {first, 0}, .count = 1}));
}

class Widths {
 public:
  // Where they are `doubtful`, the columns of packed matrices have no vote.
  explicit Widths(const CanonicalComponent& component, const SourceComponent* doubtful = nullptr)
      : component_(component) {
    for (const auto& [name, tensor] : component.tensors) {
      const bool rows_only =
          doubtful != nullptr && doubtful->tensors[tensor.rows.front().source].packed;
      vote(tensor, rows_only ? 1 : tensor.spec.shape.size());
    }
  }

  std::optional<uint64_t> columns(const CanonicalTensor& tensor) const {
    const std::vector<Dimension> terms = terms_of(tensor);
    return terms.size() == 2 ? evaluate(tensor, terms[1]) : std::nullopt;
  }

  // The width in this block that most of its tensors have.
  std::optional<uint64_t> local(const Block& block, const Indices& at, char width) const {
    const auto found = votes_.find(Key{width, &block, at});
    if (found == votes_.end()) return std::nullopt;
    return best(found->second);
  }

  // The expected shape; * is what was found.
  Shape expected(const CanonicalTensor& tensor) const {
    Shape shape = tensor.spec.shape;
    const std::vector<Dimension> terms = terms_of(tensor);
    for (size_t i = 0; i < terms.size() && i < shape.size(); ++i) {
      if (const std::optional<uint64_t> width = evaluate(tensor, terms[i])) shape[i] = *width;
    }
    return shape;
  }

 private:
  using Key = std::tuple<char, const Block*, Indices>;

  std::vector<Dimension> terms_of(const CanonicalTensor& tensor) const {
    std::vector<Dimension> terms = parse_shape(component_.layers[tensor.layer].layer->shape);
    if (tensor.bias) terms.resize(1);
    return terms;
  }

  Key key(const CanonicalTensor& tensor, char width) const {
    const bool local = width >= 'A' && width <= 'Z';
    if (!local) return {width, nullptr, {}};
    return {width, component_.layers[tensor.layer].block, tensor.at};
  }

  void vote(const CanonicalTensor& tensor, size_t dimensions) {
    const std::vector<Dimension> terms = terms_of(tensor);
    for (size_t i = 0; i < terms.size() && i < dimensions; ++i) {
      const Term& term = terms[i].front();
      const uint64_t found = tensor.spec.shape[i];
      if (terms[i].size() != 1 || term.width == '*' || found % term.factor != 0) continue;
      ++votes_[key(tensor, term.width)][found / term.factor];
    }
  }

  std::optional<uint64_t> evaluate(const CanonicalTensor& tensor, const Dimension& terms) const {
    uint64_t sum = 0;
    for (const Term& term : terms) {
      const auto found = votes_.find(key(tensor, term.width));
      if (term.width == '*' || found == votes_.end()) return std::nullopt;
      uint64_t product = 0;
      if (__builtin_mul_overflow(term.factor, best(found->second), &product)) return std::nullopt;
      if (__builtin_add_overflow(sum, product, &sum)) return std::nullopt;
    }
    return sum;
  }

  static uint64_t best(const std::map<uint64_t, size_t>& votes) {
    const auto most =
        std::ranges::max_element(votes, {}, [](const auto& candidate) { return candidate.second; });
    return most->first;
  }

  const CanonicalComponent& component_;
  std::map<Key, std::map<uint64_t, size_t>> votes_;  // width -> value -> tensors that have it
};

// A shortcut may be missing only where it would change nothing.
void check_shortcuts(
    const CanonicalComponent& component, const Widths& widths, Problems& problems) {
  for (const FullLayer& full : component.layers) {
    const std::vector<Dimension> terms = parse_shape(full.layer->shape);
    const auto instances = component.instances.find(full.block);
    if (!full.layer->optional || instances == component.instances.end()) continue;
    if (terms.size() < 2 || terms[0][0].width == '*' || terms[1][0].width == '*') continue;
    for (const Indices& at : instances->second) {
      const auto out = widths.local(*full.block, at, terms[0][0].width);
      const auto in = widths.local(*full.block, at, terms[1][0].width);
      const std::string name = weight_name(fill(full.name, at), canonical_weight(full.layer->kind));
      if (!out || !in || *out == *in || component.tensors.contains(name)) continue;
      problems.wrong.push_back(fmt::format(
          "'{}' is missing: the block takes {} channels and gives {}", name, *in, *out));
    }
  }
}

}  // namespace

void check_presence(
    CanonicalComponent& component, const std::vector<Spelling>& spellings, Problems& problems) {
  check_flat(component, problems);
  for (const Block& block : component.table->blocks) {
    std::set<Indices> expected = component.instances[&block];
    add_between(component, block, expected);
    if (expected.empty() && block.optional) continue;
    if (expected.empty()) expected.insert(Indices{});
    if (!block.optional && !block.flat) close_gaps(expected);
    for (const Indices& at : expected) {
      for (size_t i = 0; i < component.layers.size(); ++i) {
        const FullLayer& full = component.layers[i];
        if (full.block != &block) continue;
        const std::string module = fill(full.name, at);
        const Kind kind = full.layer->kind;
        const bool weight = component.tensors.contains(weight_name(module, canonical_weight(kind)));
        const bool has_bias = full.layer->bias && kind != Kind::constant;
        const bool bias = has_bias && component.tensors.contains(module + ".bias");
        if (full.layer->optional && !weight && !bias) continue;
        if (!weight) problems.missing.insert(spelled(component, spellings, i, at, false));
        if (has_bias && !bias) problems.missing.insert(spelled(component, spellings, i, at, true));
      }
    }
  }
}

void check_shapes(
    const CanonicalComponent& component, const SourceComponent& source, Problems& problems) {
  const Widths widths(component);
  check_shortcuts(component, widths, problems);
  for (const auto& [name, tensor] : component.tensors) {
    const Shape expected = widths.expected(tensor);
    const SourceComponent::Tensor& found = source.tensors[tensor.rows.front().source];
    // A vector may be a mark that holds nothing.
    if (tensor.spec.shape.size() > 1 && std::ranges::count(tensor.spec.shape, 0U) != 0) {
      problems.wrong.push_back(fmt::format(
          "'{}' has shape {}: it holds no values", found.name, to_string(found.spec.shape)));
      continue;
    }
    if (expected == tensor.spec.shape) continue;
    const std::string as = found.spec.shape == tensor.spec.shape
                               ? fmt::format("expected {}", to_string(expected))
                               : fmt::format(
                                     "so '{}' would have {}, expected {}",
                                     name,
                                     to_string(tensor.spec.shape),
                                     to_string(expected));
    problems.wrong.push_back(
        fmt::format("'{}' has shape {}, {}", found.name, to_string(found.spec.shape), as));
  }
}

std::map<size_t, uint64_t> expected_columns(
    const Family& family, const SourceComponent& source, Naming naming) {
  std::map<size_t, uint64_t> columns;
  const auto packed = [](const SourceComponent::Tensor& tensor) { return tensor.packed; };
  if (naming == Naming::original || std::ranges::none_of(source.tensors, packed)) return columns;
  const CanonicalComponent component = read_loosely(family, source, naming);
  const Widths widths(component, &source);
  for (const auto& [name, tensor] : component.tensors) {
    if (const auto expected = widths.columns(tensor)) {
      columns.emplace(tensor.rows.front().source, *expected);
    }
  }
  return columns;
}

}  // namespace mflux::models
