// SPDX-License-Identifier: MIT
// A LoRA file for one layer, and what it has to make of that layer's weight.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "tests/lora/merging.h"

namespace mflux::lora::testing {

struct Layer {
  std::string module;
  std::string alias;
  uint64_t outputs;
};
inline constexpr uint64_t kInputs = 64;
// A layer of its own, a fused one, and one whose halves are swapped.
inline const std::vector<Layer> kLayers = {
    {"transformer.single_transformer_blocks.0.proj_mlp",
     "single_transformer_blocks.0.proj_mlp",
     192},
    {"lora_unet_double_blocks_0_img_attn_qkv", "double_blocks.0.img_attn.qkv", 192},
    {"lora_unet_final_layer_adaLN_modulation_1", "final_layer.adaLN_modulation.1", 128}};

// A file for one layer, and the new weight from the old.
struct Case {
  const Layer& layer;
  LoraFile file = {};

  Matrix add(const std::string& ending, uint64_t rows, uint64_t columns) {
    return {rows, columns, file.add(layer.module + ending, {rows, columns})};
  }
  void alpha(double value) { file.add_value(layer.module + ".alpha", static_cast<float>(value)); }

  void expect(double scale, const std::function<Matrix(const Matrix&)>& formula) {
    CAPTURE(layer.module);
    const Loaded loaded = load_file(file, flux(), scale);
    require_clean(loaded);
    for (const KeyRecord& key : loaded.adapters.front().keys) CHECK(key.used);
    Merged merged(loaded, flux());
    check_close(merged.of(layer.alias), formula(merged.before(layer.alias)));
    CHECK(merged.misreported() < 1e-5);
  }
};

inline void on_every_layer(const std::function<void(Case&)>& body) {
  for (const Layer& layer : kLayers) {
    Case one{layer};
    body(one);
  }
}

}  // namespace mflux::lora::testing
