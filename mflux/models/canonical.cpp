// SPDX-License-Identifier: MIT
// Every source tensor is looked for in the spellings of its naming, in order; the first that fits
// says which canonical layers its rows are, and they are cut by the rule of the spelling. What
// remains is unknown, and a canonical tensor without rows is missing; both are told in one error,
// with the nearest names. Cost: tensors times spellings, comparisons of text.
#include "mflux/models/canonical.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/ranges.h>

#include "mflux/base/error.h"
#include "mflux/models/foreign.h"

namespace mflux::models {
namespace {

constexpr std::string_view kBias = "bias";
constexpr uint32_t kMostStages = 100;  // far more than any model has

std::string_view naming_name(Naming naming) {
  switch (naming) {
    case Naming::diffusers:
      return "diffusers";
    case Naming::mflux:
      return "mflux";
    case Naming::original:
      return "single-file";
  }
  return "";
}

// A source tensor's place in the tables.
struct Place {
  size_t spelling = 0;
  Indices at;
  bool bias = false;
};

std::optional<Place> place_exactly(std::string_view name, const std::vector<Spelling>& spellings) {
  const size_t dot = name.rfind('.');
  const std::string_view module = name.substr(0, dot);
  const std::string_view parameter = dot == name.npos ? "" : name.substr(dot + 1);
  for (size_t i = 0; i < spellings.size(); ++i) {
    const Spelling& spelling = spellings[i];
    const bool constant = spelling.weights.front().empty();
    const bool bias = !constant && spelling.has_bias && parameter == kBias;
    const bool weight = constant || std::ranges::count(spelling.weights, parameter) > 0;
    if (!bias && !weight) continue;
    const std::optional<Indices> at = match(spelling.module, constant ? name : module);
    if (at && spelling.flat && at->at[0] >= kMostStages) continue;
    if (at) return Place{.spelling = i, .at = *at, .bias = bias};
  }
  return std::nullopt;
}

std::optional<Place> place(
    const Component& component, std::string_view name, const std::vector<Spelling>& spellings) {
  for (const std::string& reading : readings(component, name)) {
    if (const std::optional<Place> found = place_exactly(reading, spellings)) return found;
  }
  return std::nullopt;
}

bool is_ignored(const Component& component, std::string_view name) {
  return std::ranges::any_of(
      component.ignored, [name](std::string_view pattern) { return matches(pattern, name); });
}

size_t rank_of(Kind kind, bool bias, bool mflux) {
  if (bias) return 1;
  switch (kind) {
    case Kind::linear:
    case Kind::embedding:
      return 2;
    case Kind::norm:
      return 1;
    case Kind::gamma3d:
      return mflux ? 1 : 3;
    case Kind::gamma4d:
      return mflux ? 1 : 4;
    case Kind::conv2d:
      return 4;
    case Kind::conv3d:
      return 5;
    case Kind::constant:
      return 0;  // any
  }
  return 0;
}

// The shape in diffusers' order of dimensions.
Shape canonical_order(Shape shape, Kind kind, bool bias, bool mflux) {
  if (bias || !mflux) return shape;
  if (is_conv(kind)) std::rotate(shape.begin() + 1, shape.end() - 1, shape.end());
  if (is_gamma(kind)) shape.resize(kind == Kind::gamma3d ? 3 : 4, 1);
  return shape;
}

class Reader {
 public:
  Reader(const Family& family, const SourceComponent& source, Naming naming)
      : family_(family), source_(source), naming_(naming) {
    result_.table = &component_of(family, source.name);
    result_.layers = all_layers(*result_.table);
    spellings_ = spellings(*result_.table, result_.layers, naming);
  }

  CanonicalComponent read_loosely() {
    for (size_t i = 0; i < source_.tensors.size(); ++i) find(i);
    count_stages();
    for (const auto& [source, found] : places_) read_tensor(source, found);
    settle_twins();
    return std::move(result_);
  }

  CanonicalComponent read() {
    refuse_packed_format(source_);
    result_ = read_loosely();
    check_presence(result_, spellings_, problems_);
    check_copies();
    check_shapes(result_, source_, problems_);
    check_config(result_, source_, problems_);
    refuse();
    return std::move(result_);
  }

 private:
  void find(size_t source) {
    const std::string& name = source_.tensors[source].name;
    if (const std::optional<Place> found = place(*result_.table, name, spellings_)) {
      places_.emplace(source, *found);
    } else if (is_ignored(*result_.table, name)) {
      result_.left_out.insert(source);
    } else {
      unknown_.push_back(source);
    }
  }

  void count_stages() {
    std::map<uint32_t, bool> is_resnet;  // by number in the flat list
    for (const auto& [source, found] : places_) {
      const Spelling& spelling = spellings_[found.spelling];
      const Block& block = *result_.layers[spelling.parts.front()].block;
      if (!block.flat) continue;
      if (!spelling.flat) {
        is_resnet[found.at.at[0]] = placeholders(block.mflux) == 2;
      } else {
        const auto [stage, place] = found.at.at;
        if (result_.stages.size() <= stage) result_.stages.resize(stage + size_t{1});
        if (found.at.count == 2) {
          result_.stages[stage] = std::max(result_.stages[stage], place + 1);
        }
      }
    }
    for (const auto& [number, resnet] : is_resnet) {
      if (result_.stages.empty()) result_.stages.push_back(0);
      if (resnet) {
        ++result_.stages.back();
      } else {
        result_.stages.push_back(0);
      }
    }
  }

  void read_tensor(size_t source, const Place& found) {
    const Spelling& spelling = spellings_[found.spelling];
    Indices at = spelling.flat ? to_flat(result_.stages, found.at) : found.at;
    if (spelling.copies) {
      --at.count;
      copies_[found.at.at[at.count]] = source;
      if (found.at.at[at.count] != 0) {  // read from the first
        result_.left_out.insert(source);
        return;
      }
      at.at[at.count] = 0;
    }
    const SourceComponent::Tensor& tensor = source_.tensors[source];
    const Kind kind = result_.layers[spelling.parts.front()].layer->kind;
    if (!fits(tensor, kind, found.bias)) return;
    std::vector<uint64_t> counts;
    if (!split(tensor, spelling, found, counts)) return;
    TensorSpec spec = tensor.spec;
    if (tensor.packed && !is_float(spec.dtype)) spec.dtype = Dtype::bf16;  // fp modes
    spec.shape = canonical_order(spec.shape, kind, found.bias, naming_ == Naming::mflux);
    for (size_t part = 0; part < counts.size(); ++part) {
      if (!spec.shape.empty()) spec.shape.front() = counts[part];
      add(source, spelling.parts[part], at, found.bias, spec);
    }
    for (const PartRows& rows : part_rows(spelling.rows, counts)) {
      CanonicalTensor& canonical =
          result_.tensors.at(canonical_name(spelling.parts[rows.part], at, found.bias));
      const SourceRows source_rows{source, rows.whole, rows.count, rows.begin};
      const auto place_there =
          std::ranges::upper_bound(canonical.rows, rows.begin, {}, &SourceRows::begin);
      canonical.rows.insert(place_there, source_rows);
    }
  }

  bool fits(const SourceComponent::Tensor& tensor, Kind kind, bool bias) {
    if (kind == Kind::constant) return true;
    const size_t rank = rank_of(kind, bias, naming_ == Naming::mflux);
    if (tensor.spec.shape.size() != rank) {
      problems_.wrong.push_back(fmt::format(
          "'{}' has shape {}, expected {} dimension(s)",
          tensor.name,
          to_string(tensor.spec.shape),
          rank));
      return false;
    }
    if (!is_float(tensor.spec.dtype) && !tensor.packed) {
      problems_.wrong.push_back(fmt::format(
          "'{}' has dtype {}, expected a float", tensor.name, dtype_name(tensor.spec.dtype)));
      return false;
    }
    return true;
  }

  // How many rows each part has.
  bool split(
      const SourceComponent::Tensor& tensor,
      const Spelling& spelling,
      const Place& found,
      std::vector<uint64_t>& counts) {
    const uint64_t rows = row_count(tensor.spec.shape);
    const uint64_t parts = spelling.parts.size();
    counts.assign(parts, rows / parts);
    std::string why;
    if (spelling.rows == Rows::swapped && rows % 2 != 0) {
      why = "two equal halves";
    } else if (spelling.rows == Rows::square_first) {
      const std::optional<uint64_t> columns = columns_of_weight(found);
      if (!columns) return false;  // the weight is missing or misshapen, which is told elsewhere
      counts.assign(parts, *columns);
      const uint64_t first = *columns > rows ? rows : *columns * (parts - 1);
      if (first >= rows) {
        why = fmt::format("{} times {} rows and some more", parts - 1, *columns);
      } else {
        counts.back() = rows - first;
      }
    } else if (spelling.rows == Rows::equal && rows % parts != 0) {
      why = fmt::format("{} equal parts", parts);
    }
    if (why.empty()) return true;
    problems_.wrong.push_back(fmt::format(
        "'{}' has shape {}, expected {}", tensor.name, to_string(tensor.spec.shape), why));
    return false;
  }

  std::optional<uint64_t> columns_of_weight(const Place& found) const {
    for (const auto& [source, other] : places_) {
      if (other.spelling != found.spelling || other.at != found.at || other.bias) continue;
      const Shape& shape = source_.tensors[source].spec.shape;
      if (shape.size() == 2) return shape[1];
    }
    return std::nullopt;
  }

  std::string canonical_name(size_t layer, const Indices& at, bool bias) const {
    const FullLayer& full = result_.layers[layer];
    return weight_name(fill(full.name, at), bias ? kBias : canonical_weight(full.layer->kind));
  }

  void add(size_t source, size_t layer, const Indices& at, bool bias, const TensorSpec& spec) {
    const std::string name = canonical_name(layer, at, bias);
    const Kind kind = result_.layers[layer].layer->kind;
    auto [there, is_new] = result_.tensors.try_emplace(name);
    CanonicalTensor& canonical = there->second;
    if (!is_new) {
      problems_.wrong.push_back(fmt::format(
          "'{}' and '{}' are the same tensor",
          source_.tensors[canonical.rows.front().source].name,
          source_.tensors[source].name));
      canonical.rows.clear();
    }
    canonical.layer = layer;
    canonical.at = at;
    canonical.bias = bias;
    canonical.spec = spec;
    canonical.channels_last = naming_ == Naming::mflux && is_conv(kind) && !bias;
    canonical.name = name;
    result_.instances[result_.layers[layer].block].insert(at);
  }

  void settle_twins() {
    for (const Twin& twin : result_.table->twins) {
      const auto layer = std::ranges::find(result_.layers, twin.original, &FullLayer::name);
      const std::string original = weight_name(twin.original, canonical_weight(layer->layer->kind));
      const auto found =
          result_.tensors.find(weight_name(twin.name, canonical_weight(layer->layer->kind)));
      if (found == result_.tensors.end()) continue;
      found->second.name = original;
      if (result_.tensors.contains(original)) continue;
      auto node = result_.tensors.extract(found);
      result_.instances.erase(result_.layers[node.mapped().layer].block);
      node.key() = original;
      node.mapped().layer = static_cast<size_t>(layer - result_.layers.begin());
      result_.instances[layer->block].insert(node.mapped().at);
      result_.tensors.insert(std::move(node));
    }
  }

  // Each block has its copy, and they look the same; that their values do is not checked.
  void check_copies() {
    for (const Spelling& spelling : spellings_) {
      if (!spelling.copies || copies_.empty()) continue;
      const FullLayer& full = result_.layers[spelling.parts.front()];
      for (const Block& block : result_.table->blocks) {
        if (block.name != full.block->copied_into) continue;
        for (const Indices& at : result_.instances[&block]) check_copy(spelling, at);
      }
    }
  }

  void check_copy(const Spelling& spelling, const Indices& at) {
    const auto first = copies_.find(0);
    const auto copy = copies_.find(at.at[0]);
    if (copy == copies_.end()) {
      problems_.missing.insert(weight_name(fill(spelling.module, at), spelling.weights.front()));
    } else if (first != copies_.end()) {
      const SourceComponent::Tensor& a = source_.tensors[first->second];
      const SourceComponent::Tensor& b = source_.tensors[copy->second];
      if (a.spec.shape == b.spec.shape) return;
      problems_.wrong.push_back(fmt::format(
          "'{}' has shape {}, expected {} as '{}'",
          b.name,
          to_string(b.spec.shape),
          to_string(a.spec.shape),
          a.name));
    }
  }

  void name_unknown() {
    std::vector<std::string> patterns;
    for (const Spelling& spelling : spellings_) {
      patterns.push_back(weight_name(spelling.module, spelling.weights.front()));
      if (spelling.has_bias) patterns.push_back(weight_name(spelling.module, kBias));
    }
    constexpr size_t kGuesses = 20;  // a wrong model has thousands of unknown names
    for (const size_t source : unknown_) {
      const std::string& name = source_.tensors[source].name;
      const std::string guess =
          problems_.unknown.size() < kGuesses ? nearest(name, patterns) : std::string();
      problems_.unknown.push_back(
          guess.empty() ? fmt::format("'{}'", name)
                        : fmt::format("'{}' (nearest: '{}')", name, guess));
    }
  }

  // A tensor that is there but wrong is not missing too.
  void excuse_present() {
    for (const auto& [source, found] : places_) {
      const Spelling& spelling = spellings_[found.spelling];
      problems_.missing.erase(weight_name(
          fill(spelling.module, found.at), found.bias ? kBias : spelling.weights.front()));
    }
  }

  void refuse() {
    excuse_present();
    name_unknown();
    std::vector<std::string> lines = problems_.config;
    const bool only_config =
        problems_.missing.empty() && problems_.unknown.empty() && problems_.wrong.empty();
    if (lines.size() == 1 && only_config) fail("{}", lines.front());
    if (!lines.empty() && only_config) {
      fail(
          "{}/config.json does not fit the tensors:\n  {}", source_.name, fmt::join(lines, "\n  "));
    }
    for (const std::string& name : problems_.missing) lines.push_back("missing: '" + name + "'");
    for (const std::string& name : problems_.unknown) lines.push_back("unknown: " + name);
    for (const std::string& what : problems_.wrong) lines.push_back(what);
    if (lines.empty()) return;
    fail(
        "{}: these tensors are not those of a {} {} in {} naming:\n  {}",
        shown_name(source_),
        family_.title,
        result_.table->name,
        naming_name(naming_),
        fmt::join(lines, "\n  "));
  }

  const Family& family_;
  const SourceComponent& source_;
  Naming naming_;
  CanonicalComponent result_;
  std::vector<Spelling> spellings_;
  std::map<size_t, Place> places_;     // by source tensor
  std::map<uint32_t, size_t> copies_;  // source tensor by block, of the layer that has copies
  std::vector<size_t> unknown_;
  Problems problems_;
};

}  // namespace

CanonicalComponent read_component(
    const Family& family, const SourceComponent& source, Naming naming) {
  return Reader(family, source, naming).read();
}

CanonicalComponent read_loosely(
    const Family& family, const SourceComponent& source, Naming naming) {
  return Reader(family, source, naming).read_loosely();
}

size_t known_names(const Component& component, const SourceComponent& source, Naming naming) {
  const std::vector<FullLayer> layers = all_layers(component);
  const std::vector<Spelling> known = spellings(component, layers, naming);
  size_t count = 0;
  for (const SourceComponent::Tensor& tensor : source.tensors) {
    if (place(component, tensor.name, known)) ++count;
  }
  return count;
}

}  // namespace mflux::models
