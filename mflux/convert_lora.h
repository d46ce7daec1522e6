// SPDX-License-Identifier: MIT
// A LoRA file rewritten in another dialect: what `mflux inspect F --convert DIALECT OUT` does.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "mflux/lora/convert/convert.h"

namespace mflux {

struct ConvertOptions {
  std::string lora = {};     // file, or folder that holds it alone
  std::string dialect = {};  // "diffusers", "kohya", "comfyui"
  std::filesystem::path output = {};
  bool overwrite = false;
  double scale = 1;  // goes into the file, as do those of blocks; what has 0 is left out
  std::string block_scales = {};
  // Whose layers they are; none: the published model's, in the widths that the file shows.
  std::optional<std::string> model = {};
  std::optional<std::string> base_model = {};  // family, where neither file nor model shows it
};

// Throws Error of kind usage for an unknown dialect, an output that exists or is the file itself,
// or a file that does not show its family; of kind lora as lora/convert/convert.h does.
lora::ConvertedFile convert_lora(const ConvertOptions& options);

}  // namespace mflux
