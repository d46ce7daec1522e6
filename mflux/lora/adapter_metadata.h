// SPDX-License-Identifier: MIT
// The metadata in which diffusers and PEFT keep ranks and alphas.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mflux::lora {

struct AdapterLayer {
  std::string module = {};  // without prefix: "transformer_blocks.0.attn.to_q"
  uint64_t rank = 0;
  double alpha = 0;
};

struct AdapterComponent {
  std::vector<AdapterLayer> layers = {};
  bool has_bias = false;  // some B has a bias, so PEFT makes one for all
};

// The text of "lora_adapter_metadata". What most layers have is said once, the others by patterns
// that match one layer alone.
std::string format_adapter_metadata(const std::map<std::string, AdapterComponent>& components);

}  // namespace mflux::lora
