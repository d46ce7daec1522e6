// SPDX-License-Identifier: MIT
// PEFT's configuration of a LoRA: the alphas of files whose tensors hold none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mflux/lora/pattern.h"
#include "mflux/safetensors/header.h"

namespace mflux::lora {

// What a configuration says about one module.
struct ModuleConfig {
  double alpha = 0;
  std::optional<double> scale = {};  // mlx-lm's, in place of alpha / rank
  std::optional<uint64_t> rank = {};
  bool rank_stabilized = false;  // scale = alpha / sqrt(rank)
  bool is_lokr = false;          // PEFT's LoKr, which scales whole factors as well
};

// PEFT's OFT.
struct OftConfig {
  bool uses_series = true;  // of Neumann, for the inverse
  uint64_t terms = 5;
  bool constrained = false;  // coft
};

class AdapterConfig {
 public:
  struct Rules {
    std::optional<double> alpha = {};
    std::optional<uint64_t> rank = {};
    bool rank_stabilized = false;
    std::vector<std::pair<Pattern, double>> alphas = {};  // the first that matches counts
    std::vector<std::string> alpha_texts = {};            // the patterns as they are written
    std::vector<std::pair<Pattern, uint64_t>> ranks = {};
    std::string initialization = {};       // init_lora_weights, if it is a method's name
    std::string method = {};               // peft_type: "LORA", "LOKR", ...
    std::optional<double> own_alpha = {};  // "alpha", as LoHa and LoKr call it
    std::optional<double> scale = {};      // of mlx-lm's "lora_parameters"
    OftConfig oft = {};
  };

  // `module` without prefix. None if nothing says an alpha for it.
  std::optional<ModuleConfig> find(std::string_view component, std::string_view module) const;

  // Alphas that count for none of the layers: "transformer.lora_alpha = 16". A layer is a component
  // and a name without prefix.
  std::vector<std::string> unused_alphas(
      std::span<const std::pair<std::string, std::string>> layers) const;

  // None if the configuration is not of OFT.
  const OftConfig* find_oft(std::string_view component) const;

  // The initialization method if it is one that also changed the model the LoRA was trained on;
  // else "".
  std::string_view changed_base() const;

  bool empty() const { return rules_.empty(); }

 private:
  friend class ConfigReader;
  const Rules* rules(std::string_view component) const;
  std::map<std::string, Rules, std::less<>> rules_;  // by component; "": of all that have none
};

struct ParsedConfig {
  AdapterConfig config = {};
  std::string error = {};  // what is wrong with it, or ""
};

// `text`: adapter_config.json, or the metadata "lora_adapter_metadata", in which names may begin
// with a component.
ParsedConfig parse_adapter_config(std::string_view text);

// Is a metadata value with this key taken as a part of the configuration, where there is no
// "lora_adapter_metadata".
bool is_read_from_metadata(std::string_view key);

// The configuration in a file's metadata: "lora_adapter_metadata", or single values as strings.
ParsedConfig metadata_config(const safetensors::Metadata& metadata);

}  // namespace mflux::lora
