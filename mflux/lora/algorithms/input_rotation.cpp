// SPDX-License-Identifier: MIT
// OFT of PEFT and OneTrainer: W = W * R' with block-diagonal rotations of the inputs. A block is
// stored as the values strictly above the diagonal of a skew-symmetric Q; its rotation is made once
// in double, by Neumann's series or by the inverse itself, and a row is turned block by block.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "mflux/lora/algorithms/algorithm.h"
#include "mflux/lora/algorithms/rotation.h"

namespace mflux::lora {
namespace {

using enum Parameter;
using safetensors::TensorInfo;

// Neumann's series as OneTrainer has it, and PEFT if its configuration says nothing else.
constexpr uint64_t kNeumannTerms = 5;

struct InputRotation final : Change {
  // [count or 1, size * (size - 1) / 2]; one: the same for every block.
  Factor triangles = {};
  // inputs = count * size
  uint64_t count = 0;
  uint64_t size = 0;
  // Of Neumann's series for the inverse; 0: the inverse itself.
  uint64_t terms = 0;
  // Of the stored values.
  double divisor = 1;

  std::string_view name() const override { return kInputRotation.title; }

  // Every block transposed, [count or 1][size][size].
  Prepared prepare(const Update&, uint64_t) const override {
    const std::vector<float> values = read_factor(triangles);
    std::vector<double> rotations(triangles.rows * size * size);
    std::vector<double> q(size * size);
    for (uint64_t block = 0; block < triangles.rows; ++block) {
      uint64_t at = block * triangles.columns;
      for (uint64_t i = 0; i < size; ++i) {
        for (uint64_t j = i + 1; j < size; ++j) {
          const double value = static_cast<double>(values[at++]) / divisor;
          q[i * size + j] = value;
          q[j * size + i] = -value;
        }
      }
      const std::span<double> out = std::span(rotations).subspan(block * size * size, size * size);
      if (terms == 0) {
        // (I - Q) (I + Q)^-1 is Cayley's map of -Q.
        for (double& value : q) value = -value;
        cayley(q, size, out);
      } else {
        neumann(q, size, terms, out);
      }
      transpose(out, size);
    }
    return {.rotations = std::move(rotations)};
  }

  void apply_to_rows(
      const Update&,
      const Prepared& prepared,
      RowRange range,
      std::span<float> rows,
      std::span<float> change,
      RowScratch&) const override {
    const bool is_shared = triangles.rows == 1;
    std::vector<double> sums(size);
    for (uint64_t i = 0; i < range.count; ++i) {
      for (uint64_t block = 0; block < count; ++block) {
        const std::span<float> part = rows.subspan(i * range.columns + block * size, size);
        const double* rotation = prepared.rotations.data() + (is_shared ? 0 : block) * size * size;
        std::ranges::fill(sums, 0.0);
        for (uint64_t q = 0; q < size; ++q) {
          const auto value = static_cast<double>(part[q]);
          for (uint64_t p = 0; p < size; ++p) sums[p] += value * rotation[q * size + p];
        }
        for (uint64_t p = 0; p < size; ++p) {
          const auto next = static_cast<float>(sums[p]);
          change[i * range.columns + block * size + p] = next - part[p];
          part[p] = next;
        }
      }
    }
  }
};

// The side of a matrix of which `size` values lie above the diagonal; 0: there is none.
uint64_t side_of_triangle(uint64_t size) {
  const auto side =
      static_cast<uint64_t>((1 + std::sqrt(1 + 8 * static_cast<double>(size))) / 2 + 0.5);
  return side * (side - 1) / 2 == size ? side : 0;
}

// What the configuration of the file says; null: nothing.
const OftConfig* find_config(const Builder& builder) {
  const std::string& component = builder.module.place.component;
  const OftConfig* found = builder.file.metadata.find_oft(component);
  return found != nullptr ? found : builder.file.sidecar.find_oft(component);
}

void build_input_rotation(Builder& builder) {
  const Module& module = builder.module;
  const uint64_t inputs = builder.target.inputs;
  const std::optional<Factor> triangles = builder.matrix(oft_matrix);
  if (!triangles) return;
  const uint64_t size = side_of_triangle(triangles->columns);
  const bool is_shared = triangles->rows == 1 && size != 0 && inputs % size == 0;
  if (size == 0 || (triangles->rows * size != inputs && !is_shared)) {
    builder.refuse_shape(
        *triangles->info,
        fmt::format("(count, size * (size - 1) / 2) with count * size = {}", inputs));
    return;
  }
  if (builder.file.scale != 1) {
    builder.refuse(
        ProblemKind::oft_strength,
        fmt::format(
            "'{}' is a rotation of the inputs, which has no meaning at scale {}: use 1",
            module.name,
            builder.file.scale));
    return;
  }
  InputRotation change;
  change.triangles = *triangles;
  change.size = size;
  change.count = inputs / size;
  change.terms = kNeumannTerms;
  if (module.find(oft_scaled) != nullptr) {
    change.divisor = 2 * std::sqrt(static_cast<double>(size) - 1);
  } else if (const OftConfig* config = find_config(builder)) {
    if (config->constrained) {
      builder.refuse(
          ProblemKind::unsupported,
          fmt::format(
              "'{}': the configuration says coft, whose projection is part of the training",
              module.name));
      return;
    }
    change.terms = config->uses_series ? config->terms : 0;
  }
  builder.add(builder.update(std::move(change)), {oft_matrix, oft_scaled});
}

}  // namespace

constexpr Algorithm kInputRotation = {
    .title = "OFT of inputs",
    .own = set_of({oft_matrix, oft_scaled}),
    .missing = [](const Module& module) -> std::string_view {
      return module.find(oft_matrix) != nullptr ? "" : "OFT of inputs needs oft_R";
    },
    .build = build_input_rotation,
};

}  // namespace mflux::lora
