// SPDX-License-Identifier: MIT
// Small models to load LoRAs on, small LoRA files, and what they add up to.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "mflux/lora/algorithms/dense.h"
#include "mflux/lora/algorithms/low_rank.h"
#include "mflux/lora/contributions.h"
#include "mflux/lora/load.h"
#include "tests/models/headers.h"
#include "tests/testing.h"

namespace mflux::lora::testing {

using mflux::testing::bytes_of;
using mflux::testing::contains;
using mflux::testing::TempDir;

inline BaseModel empty_model(std::string_view family_name) {
  const Family& family = models::lora_family(models::testing::family(family_name));
  return {
      .family = &family, .families = models::lora_families(), .title = std::string(family.title)};
}

inline void add_component(
    BaseModel& model, std::string_view family_name, const models::SourceComponent& source) {
  const models::Family& family = models::testing::family(family_name);
  constexpr auto kNaming = models::Naming::diffusers;
  model.components[source.name] = models::canonical_shapes(family, source, kNaming);
  for (Target& target : models::lora_targets(family, source, kNaming)) {
    model.targets.push_back(std::move(target));
  }
}

// FLUX.1-dev with two blocks of each kind, hidden 64, MLP 192, heads of 16, text 32; CLIP and T5 as
// they are.
inline const BaseModel& flux() {
  static const BaseModel kModel = [] {
    using models::testing::load_component;
    BaseModel model = empty_model("flux");
    model.components["vae"];
    add_component(
        model,
        "flux",
        models::testing::tiny(
            load_component("flux-dev.txt", "transformer"), models::testing::kFluxNarrow));
    add_component(model, "flux", load_component("flux-dev.txt", "text_encoder"));
    add_component(model, "flux", load_component("flux-dev.txt", "text_encoder_2"));
    return model;
  }();
  return kModel;
}

// Qwen-Image with two blocks, hidden 64, MLP 192, heads of 16, text 48; its text encoder as it is.
inline const BaseModel& qwen() {
  static const BaseModel kModel = [] {
    using models::testing::load_component;
    BaseModel model = empty_model("qwen");
    model.components["vae"];
    add_component(
        model,
        "qwen",
        models::testing::tiny(
            load_component("qwen-image.txt", "transformer"),
            {{3072, 64}, {12288, 192}, {18432, 384}, {6144, 128}, {3584, 48}, {128, 16}}));
    add_component(model, "qwen", load_component("qwen-image.txt", "text_encoder"));
    return model;
  }();
  return kModel;
}

using Values = std::vector<float>;

// The same numbers in every run; sums of their products are exact in float32.
inline Values numbers(std::string_view seed, uint64_t count) {
  uint32_t state = 2166136261U;
  for (const char c : seed) state = (state ^ static_cast<unsigned char>(c)) * 16777619U;
  Values values(count);
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(static_cast<int>(state >> 28) - 8) / 4;  // never all zero
  }
  return values;
}

struct LoraFile {
  std::vector<mflux::testing::TestTensor> tensors = {};
  safetensors::Metadata metadata = {};

  // A tensor of numbers that follow from its key.
  Values add(const std::string& key, const Shape& shape) {
    Values values = numbers(key, element_count(shape).value());
    tensors.push_back(mflux::testing::f32_tensor(key, shape, values));
    return values;
  }

  void add_value(const std::string& key, float value) {
    tensors.push_back(mflux::testing::f32_tensor(key, {}, {value}));
  }

  std::filesystem::path write(
      const TempDir& folder, std::string_view name = "x.safetensors") const {
    std::filesystem::path path = folder / name;
    mflux::testing::write_safetensors(path, tensors, metadata);
    return path;
  }
};

inline Loaded load_file(const LoraFile& file, const BaseModel& model, double scale = 1) {
  const TempDir folder;
  const LoraSpec spec{.file = file.write(folder), .scale = scale};
  return load({&spec, 1}, model);
}

inline void require_clean(const Loaded& loaded) {
  REQUIRE_MESSAGE(loaded.problems.empty(), describe(loaded.problems));
}

// scale * up * down, in double, row by row. up: [rows, rank], down: [rank, columns].
inline std::vector<double> product(
    const Values& up, const Values& down, uint64_t rank, double scale = 1) {
  const uint64_t rows = up.size() / rank;
  const uint64_t columns = down.size() / rank;
  std::vector<double> result(rows * columns);
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (uint64_t k = 0; k < rank; ++k) {
        sum += static_cast<double>(up[i * rank + k]) * static_cast<double>(down[k * columns + j]);
      }
      result[i * columns + j] = scale * sum;
    }
  }
  return result;
}

inline std::vector<double> rows_of(
    const std::vector<double>& matrix, uint64_t columns, uint64_t begin, uint64_t count) {
  const auto first = matrix.begin() + static_cast<std::ptrdiff_t>(begin * columns);
  return {first, first + static_cast<std::ptrdiff_t>(count * columns)};
}

// What one update adds to the given rows of its target.
inline std::vector<double> values_of(const Update& update, uint64_t begin, uint64_t count) {
  const uint64_t columns = update.target.inputs;
  if (const auto* dense = dynamic_cast<const Dense*>(update.change.get())) {
    Values values(count * columns);
    read_values(dense->value, begin * columns, update.scale, values);
    return {values.begin(), values.end()};
  }
  REQUIRE(is_low_rank(update));
  Values up(count * update.rank);
  Values down(update.rank * columns);
  read_up(update, begin, count, up);
  read_down(update, down);
  return product(up, down, update.rank);
}

// All that LoRAs add to a tensor "component/name" of the model; empty if nothing.
inline std::vector<double> delta(
    const Loaded& loaded, const BaseModel& model, std::string_view name) {
  const size_t slash = name.find('/');
  const Shape& shape = model.components.at(std::string(name.substr(0, slash)))
                           .at(std::string(name.substr(slash + 1)));
  const uint64_t columns = element_count(shape).value() / shape.front();
  const auto all = contributions(loaded);
  const auto found = all.find(std::string(name));
  if (found == all.end()) return {};
  std::vector<double> sum(shape.front() * columns);
  for (const Contribution& item : found->second) {
    REQUIRE(item.begin + item.count <= shape.front());
    const std::vector<double> values = values_of(*item.update, item.update_begin, item.count);
    for (size_t i = 0; i < values.size(); ++i) sum[item.begin * columns + i] += values[i];
  }
  return sum;
}

// The one problem of a file.
inline Problem only_problem(const Loaded& loaded) {
  REQUIRE_MESSAGE(loaded.problems.size() == 1, describe(loaded.problems));
  return loaded.problems.front();
}

}  // namespace mflux::lora::testing
