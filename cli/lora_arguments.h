// SPDX-License-Identifier: MIT
// LoRAs on the command line, in either spelling: --lora F --lora-scale S, or Python mflux's
// --lora F S, --lora-paths F G, --lora-scales S T.
#pragma once

#include <string>
#include <vector>

#include "mflux/options.h"

namespace CLI {
class App;
}

namespace mflux::cli {

struct LoraArguments {
  std::vector<std::string> paths = {};  // a number after a path is its scale
  std::vector<double> scales = {};
  std::vector<std::string> block_scales = {};  // one per LoRA, or none
};

// Why the text cannot be a scale; "" if it can, or if CLI11 says so itself.
std::string why_no_scale(const std::string& text);

void add_lora_options(CLI::App& app, LoraArguments& arguments);

// Throws a usage Error if there are not as many scales as LoRAs (none at all means 1.0 each).
std::vector<LoraRequest> settle_loras(const LoraArguments& arguments);

}  // namespace mflux::cli
