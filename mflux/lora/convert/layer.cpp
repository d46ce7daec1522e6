// SPDX-License-Identifier: MIT
// Pairs that share A and the scale become one pair with their Bs below each other; all others stand
// side by side, A below A and B beside B, so that the product is the sum. Values are copied bit by
// bit unless scales differ: then those of B are brought to one, in F32 if their own dtype does not
// do.
#include "mflux/lora/convert/layer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace mflux::lora {
namespace {

using safetensors::TensorInfo;

// Pairs with one A and one scale, whose Bs lie one below the other.
struct Group {
  StoredMatrix down;
  double scale = 1;
  std::vector<std::pair<RowMap, StoredMatrix>> ups = {};  // `from` is a row of its matrix

  uint64_t rank() const { return down.rows; }
  bool is_free(const std::vector<RowMap>& rows) const {
    return std::ranges::none_of(ups, [&](const auto& up) {
      return std::ranges::any_of(rows, [&](const RowMap& other) {
        return other.to < up.first.to + up.first.count && up.first.to < other.to + other.count;
      });
    });
  }
};

std::vector<uint64_t> source_rows(const std::vector<RowMap>& maps) {
  std::vector<uint64_t> rows;
  for (const RowMap& map : maps) {
    for (uint64_t i = 0; i < map.count; ++i) rows.push_back(map.from + i);
  }
  return rows;
}

class LayerWriter {
 public:
  LayerWriter(const WrittenLayer& layer, const WritingStyle& style, const JoinedFiles& file)
      : layer_(layer), style_(style), file_(file) {}

  WrittenTensors write(bool zero_bias) {
    for (const PairPart& part : layer_.pairs) add(part);
    if (!groups_.empty()) write_pair();
    if (!style_.differences) {
      if (!layer_.biases.empty()) {
        write_dense(style_.up_bias, layer_.biases, 1 / scale_);
      } else if (zero_bias && !groups_.empty()) {
        push(
            style_.up_bias, {layer_.target->outputs}, StoredMatrix::zeros(up_dtype_, outputs(), 1));
      }
      return std::move(result_);
    }
    const bool is_vector = layer_.target->inputs == 1;
    if (!layer_.weights.empty()) write_dense(".diff", layer_.weights, 1, !is_vector);
    if (!layer_.biases.empty()) write_dense(".diff_b", layer_.biases, 1);
    return std::move(result_);
  }

 private:
  uint64_t outputs() const { return layer_.target->outputs; }

  void push(std::string_view ending, Shape shape, StoredMatrix values) {
    result_.tensors.push_back(
        {fmt::format("{}{}", layer_.module, ending), std::move(shape), std::move(values)});
  }

  void add(const PairPart& part) {
    StoredMatrix down = read_matrix(*part.module->find(Parameter::down), file_, part.transposed);
    StoredMatrix up = rows_at(
        read_matrix(*part.module->find(Parameter::up), file_, part.transposed),
        source_rows(part.rows));
    if (part.cut) {
      // Of a block-diagonal B each part has columns of its own; the others are zero here.
      const std::vector<uint64_t> used = used_columns(up);
      if (!used.empty() && used.size() < up.columns) {
        up = columns_of(up, used);
        down = rows_at(down, used);
      }
    }
    auto group = std::ranges::find_if(groups_, [&](const Group& candidate) {
      return candidate.scale == part.scale && candidate.down == down &&
             candidate.is_free(part.rows);
    });
    if (group == groups_.end()) {
      groups_.push_back({std::move(down), part.scale});
      group = groups_.end() - 1;
    }
    uint64_t row = 0;
    for (const RowMap& map : part.rows) {
      group->ups.emplace_back(RowMap{0, map.to, map.count}, rows_of(up, row, map.count));
      row += map.count;
    }
  }

  // The scale that most groups have; the others are brought to it in B.
  double choose_scale() const {
    std::map<double, size_t> votes;
    for (const Group& group : groups_) ++votes[group.scale];
    double best = groups_.front().scale;
    for (const Group& group : groups_) {
      if (group.scale == 0) continue;
      if (best == 0 || votes[group.scale] > votes[best]) best = group.scale;
    }
    return best;
  }

  double factor_of(const Group& group) const { return scale_ == 0 ? 1 : group.scale / scale_; }

  Dtype choose_up_dtype() {
    Dtype dtype = groups_.front().ups.front().second.dtype;
    bool is_exact = true;
    for (const Group& group : groups_) {
      for (const auto& [map, up] : group.ups) {
        dtype = common_dtype(dtype, up.dtype);
        is_exact = is_exact && scales_exactly(up, factor_of(group));
      }
    }
    result_.widened = !is_exact && dtype != Dtype::f64 && dtype != Dtype::f32;
    return is_exact ? dtype : common_dtype(dtype, Dtype::f32);
  }

  void write_pair() {
    scale_ = choose_scale();
    up_dtype_ = choose_up_dtype();
    uint64_t rank = 0;
    uint64_t columns = 0;
    Dtype down_dtype = groups_.front().down.dtype;
    for (const Group& group : groups_) {
      rank += group.rank();
      columns = std::max(columns, group.down.columns);
      down_dtype = common_dtype(down_dtype, group.down.dtype);
    }
    StoredMatrix down = StoredMatrix::zeros(down_dtype, rank, columns);
    StoredMatrix up = StoredMatrix::zeros(up_dtype_, outputs(), rank);
    uint64_t begin = 0;
    for (const Group& group : groups_) {
      put(group.down, 1, begin, 0, down);
      for (const auto& [map, values] : group.ups) put(values, factor_of(group), map.to, begin, up);
      begin += group.rank();
    }
    result_.rank = rank;
    result_.alpha = scale_ * static_cast<double>(rank);
    push(style_.down, {rank, columns}, std::move(down));
    push(style_.up, {outputs(), rank}, std::move(up));
    if (style_.alpha_tensors) write_alpha();
  }

  void write_alpha() {
    const auto narrow = static_cast<float>(result_.alpha);
    const bool is_exact = static_cast<double>(narrow) == result_.alpha;
    StoredMatrix alpha = StoredMatrix::zeros(is_exact ? Dtype::f32 : Dtype::f64, 1, 1);
    if (is_exact) {
      std::memcpy(alpha.data.data(), &narrow, sizeof narrow);
    } else {
      std::memcpy(alpha.data.data(), &result_.alpha, sizeof result_.alpha);
    }
    push(".alpha", {}, std::move(alpha));
  }

  // `factor` on top of the parts' own scales.
  void write_dense(
      std::string_view ending,
      const std::vector<DensePart>& parts,
      double factor,
      bool is_matrix = false) {
    std::vector<std::pair<const DensePart*, StoredMatrix>> values;
    Dtype dtype = parts.front().info->spec.dtype;
    bool is_exact = true;
    for (const DensePart& part : parts) {
      StoredMatrix whole = read_matrix(*part.info, file_);
      if (!is_matrix) whole = {whole.dtype, whole.rows * whole.columns, 1, std::move(whole.data)};
      values.emplace_back(&part, rows_at(whole, source_rows(part.rows)));
      dtype = common_dtype(dtype, whole.dtype);
      is_exact = is_exact && scales_exactly(values.back().second, part.scale * factor);
    }
    if (!is_exact) {
      result_.widened = result_.widened || (dtype != Dtype::f64 && dtype != Dtype::f32);
      dtype = common_dtype(dtype, Dtype::f32);
    }
    const uint64_t columns = is_matrix ? layer_.target->inputs : 1;
    StoredMatrix result = StoredMatrix::zeros(dtype, outputs(), columns);
    for (const auto& [part, matrix] : values) {
      uint64_t row = 0;
      for (const RowMap& map : part->rows) {
        put(rows_of(matrix, row, map.count), part->scale * factor, map.to, 0, result);
        row += map.count;
      }
    }
    push(ending, is_matrix ? Shape{outputs(), columns} : Shape{outputs()}, std::move(result));
  }

  const WrittenLayer& layer_;
  const WritingStyle& style_;
  const JoinedFiles& file_;
  std::vector<Group> groups_;
  double scale_ = 1;
  Dtype up_dtype_ = Dtype::f32;
  WrittenTensors result_;
};

bool overlap(const std::vector<DensePart>& parts) {
  std::vector<RowMap> all;
  for (const DensePart& part : parts) all.insert(all.end(), part.rows.begin(), part.rows.end());
  std::ranges::sort(all, {}, &RowMap::to);
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].to < all[i - 1].to + all[i - 1].count) return true;
  }
  return false;
}

}  // namespace

WrittenTensors write_layer(
    const WrittenLayer& layer, const WritingStyle& style, const JoinedFiles& file, bool zero_bias) {
  return LayerWriter(layer, style, file).write(zero_bias);
}

std::string why_not(const WrittenLayer& layer, const WritingStyle& style) {
  if (overlap(layer.weights) || overlap(layer.biases)) {
    return "two differences of the same rows cannot be one tensor";
  }
  if (style.differences) return "";
  if (!layer.weights.empty()) return "it has no key for the difference of a whole weight";
  if (layer.biases.empty()) return "";
  if (style.up_bias.empty()) return "it has no key for the change of a bias";
  const bool all_of_pairs = std::ranges::all_of(layer.biases, &DensePart::of_pair);
  if (!all_of_pairs || layer.pairs.empty()) {
    return "it has no key for the change of a bias that is not the bias of a B";
  }
  return "";
}

}  // namespace mflux::lora
