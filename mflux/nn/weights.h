// SPDX-License-Identifier: MIT
// The weights of one component, by the names of Python's mflux whatever the source's naming: its
// layouts are MLX's own (convolutions channels last). Files are mapped, not copied, where their
// bytes are what MLX computes with.
//
//   const Weights weights = load_weights(model, "transformer", {});
//   const Linear q = weights.linear("transformer_blocks.0.attn.to_q");
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/lora/contributions.h"
#include "mflux/nn/layers.h"

namespace mflux::nn {

// A tensor that was baked in memory: its stored form, whole.
struct BakedPart {
  TensorSpec spec = {};
  std::vector<std::byte> bytes = {};
};
struct BakedTensor {
  std::optional<QuantFormat> format = {};
  BakedPart weight = {};
  std::optional<BakedPart> scales = {};
  std::optional<BakedPart> biases = {};
};

// What LoRAs make of the weights.
struct TensorChanges {
  // By "component/canonical tensor"; low-rank pairs only, unless the tensor is in `baked`. They
  // point into a lora::Loaded that must outlive the loading.
  std::map<std::string, std::vector<lora::Contribution>> beside = {};
  std::map<std::string, BakedTensor> baked = {};  // by "component/tensor of mflux's naming"
};

struct LoadOptions {
  std::optional<QuantFormat> quantize = {};  // packs while loading what the family packs
  const TensorChanges* changes = nullptr;    // null: none
  Products products = Products::float32;     // of weights that are bfloat16 or packed
};

class Weights {
 public:
  bool has(std::string_view tensor) const;
  // All throw Error naming component and tensor if it is not there, and all but linear() and
  // embedding() if it is packed.
  const mx::array& tensor(std::string_view name) const;
  Linear linear(std::string_view module) const;  // weight, bias if there is one, LoRAs
  Embedding embedding(std::string_view module) const;
  Norm norm(std::string_view module) const;
  Conv conv(std::string_view module) const;
  // How many blocks there are: with "transformer_blocks.", the highest number after it, plus one.
  int blocks(std::string_view prefix) const;

  const std::string& component() const { return component_; }
  const std::string& config() const { return config_; }  // text of config.json, or ""
  uint64_t bytes() const;                                // of all tensors

 private:
  friend class Loader;
  // A tensor as it lies in memory: in a float dtype, or packed as MLX packs it.
  struct Stored {
    mx::array values = mx::array(0.0F);
    std::optional<QuantFormat> format = {};  // set if packed
    std::optional<mx::array> scales = {};
    std::optional<mx::array> biases = {};
    std::vector<LowRankPath> loras = {};
    Products products = Products::float32;
  };
  const Stored& find(std::string_view name) const;
  Linear matrix(std::string_view module) const;  // without a bias
  std::optional<mx::array> bias(std::string_view module) const;

  std::string component_ = {};
  std::string config_ = {};
  std::map<std::string, Stored, std::less<>> tensors_ = {};
};

// Throws Error for a tensor that is missing, unknown, misshapen, or not finite after a LoRA.
Weights load_weights(
    const Checkpoint& model, std::string_view component, const LoadOptions& options);

}  // namespace mflux::nn
