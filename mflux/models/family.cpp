// SPDX-License-Identifier: MIT
// The half of the mapping that writes: canonical tensors to those of the output naming, and what
// they are packed to.
#include "mflux/models/family.h"

#include <algorithm>
#include <utility>

#include "mflux/base/error.h"
#include "mflux/models/canonical.h"
#include "mflux/models/frequencies.h"
#include "mflux/models/spelling.h"
#include "mflux/models/tables.h"

namespace mflux::models {
namespace {

bool is_fp8(Dtype dtype) {
  return dtype == Dtype::f8_e4m3 || dtype == Dtype::f8_e5m2;
}

// The narrowest dtype of the output's that holds both exactly.
Dtype wider(Dtype a, Dtype b) {
  if (a == b) return a;
  if (a == Dtype::f64 || b == Dtype::f64) return Dtype::f64;
  if (is_fp8(a)) return b;
  return is_fp8(b) ? a : Dtype::f32;
}

bool is_left_out(const Block& block, const Indices& at, const Stages& stages, Naming output) {
  if (block.mflux_skips_stage >= 0 && output == Naming::mflux &&
      from_flat(stages, at).at[0] == static_cast<uint32_t>(block.mflux_skips_stage)) {
    return true;
  }
  switch (block.keep) {
    case Keep::always:
      return false;
    case Keep::diffusers_only:
      return output == Naming::mflux;
    case Keep::original_only:
      return output != Naming::original;
  }
  return false;
}

// An output tensor while its parts are being found.
struct Assembly {
  const Spelling* spelling = nullptr;
  std::vector<const CanonicalTensor*> parts;
};

class Writer {
 public:
  Writer(const CanonicalComponent& component, const SourceComponent& source, Naming output)
      : component_(component),
        source_(source),
        output_(output),
        spellings_(spellings(*component.table, component.layers, output)),
        left_out_(component.left_out) {}

  MappedComponent write() {
    for (const auto& [name, tensor] : component_.tensors) {
      const Block& block = *component_.layers[tensor.layer].block;
      if (is_left_out(block, tensor.at, component_.stages, output_)) {
        for (const SourceRows& rows : tensor.rows) left_out_.insert(rows.source);
      } else {
        place(tensor);
      }
    }
    MappedComponent result;
    for (const std::string& name : order_)
      result.tensors.push_back(map(name, assemblies_.at(name)));
    std::ranges::stable_sort(result.tensors, {}, [](const MappedTensor& tensor) {
      return std::pair(tensor.pieces.front().source, tensor.pieces.front().source_begin);
    });
    for (const size_t source : component_.left_out) {
      result.foreign.push_back(source_.tensors[source].name);
    }
    if (output_ == Naming::mflux) add_frequencies(component_, source_, result);
    for (const size_t source : left_out_) {
      const std::string& name = source_.tensors[source].name;
      const bool computed = std::ranges::any_of(result.tensors, [&](const MappedTensor& tensor) {
        return !tensor.values.empty() && tensor.name == name;
      });
      if (!computed) result.left_out.push_back(name);
    }
    return result;
  }

 private:
  void place(const CanonicalTensor& tensor) {
    for (const Spelling& spelling : spellings_) {
      const auto part = std::ranges::find(spelling.parts, tensor.layer);
      if (part == spelling.parts.end()) continue;
      for (const Indices& at : places(spelling, tensor)) {
        std::string name =
            weight_name(fill(spelling.module, at), tensor.bias ? "bias" : spelling.weights.front());
        const auto [there, is_new] = assemblies_.try_emplace(name);
        if (is_new) {
          there->second.spelling = &spelling;
          there->second.parts.resize(spelling.parts.size());
          order_.push_back(std::move(name));
        }
        there->second.parts[static_cast<size_t>(part - spelling.parts.begin())] = &tensor;
      }
      return;
    }
  }

  // The tensor's own block, or each block that has a copy.
  std::vector<Indices> places(const Spelling& spelling, const CanonicalTensor& tensor) const {
    if (!spelling.copies) return {spelled_at(spelling, component_.stages, tensor.at)};
    const Block& own = *component_.layers[tensor.layer].block;
    for (const auto& [block, found] : component_.instances) {
      if (block->name == own.copied_into) return {found.begin(), found.end()};
    }
    return {};
  }

  Dtype output_dtype(Dtype dtype) const {
    if (!is_float(dtype)) return dtype;
    if (output_ == Naming::mflux && component_.table->mflux_bf16) return Dtype::bf16;
    return is_fp8(dtype) ? Dtype::bf16 : dtype;
  }

  MappedTensor map(const std::string& name, const Assembly& assembly) const {
    const CanonicalTensor& first = *assembly.parts.front();
    const Layer& layer = *component_.layers[first.layer].layer;
    MappedTensor mapped;
    mapped.name = name;
    mapped.shape = first.spec.shape;
    std::vector<uint64_t> counts;
    Dtype dtype = first.spec.dtype;
    uint64_t total = 0;
    for (const CanonicalTensor* part : assembly.parts) {
      counts.push_back(row_count(part->spec.shape));
      total += counts.back();
      dtype = wider(dtype, part->spec.dtype);
    }
    mapped.dtype = output_dtype(dtype);
    if (!mapped.shape.empty()) mapped.shape.front() = total;
    if (!first.bias) arrange(layer.kind, first.channels_last, mapped);
    for (const PartRows& rows : part_rows(assembly.spelling->rows, counts)) {
      add_pieces(*assembly.parts[rows.part], rows, mapped.pieces);
    }
    return mapped;
  }

  // Role, and the order of dimensions.
  void arrange(Kind kind, bool from_last, MappedTensor& mapped) const {
    if (kind == Kind::linear) mapped.role = Role::linear;
    if (kind == Kind::embedding) mapped.role = Role::embedding;
    const bool to_last = output_ == Naming::mflux;
    if (is_gamma(kind) && to_last) mapped.shape.resize(1);
    if (!is_conv(kind)) return;
    const uint64_t channels = mapped.shape[1];
    uint64_t positions = 1;
    for (size_t i = 2; i < mapped.shape.size(); ++i) positions *= mapped.shape[i];
    if (to_last)
      std::rotate(mapped.shape.begin() + 1, mapped.shape.begin() + 2, mapped.shape.end());
    if (from_last == to_last || channels == 1 || positions == 1) return;
    mapped.transpose =
        to_last ? RowTranspose{channels, positions} : RowTranspose{positions, channels};
  }

  static void add_pieces(
      const CanonicalTensor& tensor, const PartRows& wanted, std::vector<Piece>& pieces) {
    for (const SourceRows& rows : tensor.rows) {
      const uint64_t begin = std::max(rows.begin, wanted.begin);
      const uint64_t end = std::min(rows.begin + rows.count, wanted.begin + wanted.count);
      if (begin >= end && rows.count != 0) continue;
      pieces.push_back(
          {.source = rows.source,
           .source_begin = rows.source_begin + (begin - rows.begin),
           .count = end - begin,
           .output_begin = wanted.whole + (begin - wanted.begin),
           .canonical = tensor.name,
           .canonical_begin = begin});
    }
  }

  const CanonicalComponent& component_;
  const SourceComponent& source_;
  Naming output_;
  std::vector<Spelling> spellings_;
  std::set<size_t> left_out_;
  std::map<std::string, Assembly> assemblies_;
  std::vector<std::string> order_;  // of first mention: copies by number, not by name
};

}  // namespace

MappedComponent map_component(
    const Family& family, const SourceComponent& source, Naming naming, Naming output) {
  const Component& table = component_of(family, source.name);
  if (output == Naming::original && !table.single_file) {
    fail(
        ErrorKind::usage,
        "{}'s {} has no single-file naming; only its transformer has",
        family.title,
        table.name);
  }
  const CanonicalComponent component = read_component(family, source, naming);
  return Writer(component, source, output).write();
}

std::optional<QuantFormat> quantization(
    const Family& family,
    std::string_view component,
    const MappedTensor& tensor,
    const QuantFormat& asked) {
  const Component& table = component_of(family, component);
  if (!table.quantized || tensor.role == Role::other || tensor.shape.size() != 2) {
    return std::nullopt;
  }
  QuantFormat format = asked;
  const std::string_view name = tensor.pieces.front().canonical;
  const std::string_view module = name.substr(0, name.rfind('.'));
  for (const BitsException& exception : table.exceptions) {
    if (exception.asked != asked.bits || !match(exception.layer, module)) continue;
    format = make_quant_format(
        QuantMode::affine,
        exception.bits,
        asked.mode == QuantMode::affine ? std::optional(asked.group_size) : std::nullopt);
  }
  if (!format.fits(tensor.shape.back())) return std::nullopt;
  return format;
}

std::map<std::string, Shape> canonical_shapes(
    const Family& family, const SourceComponent& source, Naming naming) {
  const CanonicalComponent component = read_component(family, source, naming);
  std::map<std::string, Shape> shapes;
  for (const auto& [name, tensor] : component.tensors)
    shapes.emplace(tensor.name, tensor.spec.shape);
  return shapes;
}

}  // namespace mflux::models
