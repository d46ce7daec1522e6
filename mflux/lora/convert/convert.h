// SPDX-License-Identifier: MIT
// A LoRA file rewritten in another dialect: the same changes under other names, fused or split as
// the dialect needs it.
//
// A fused layer that is cut shares its A; layers that are fused become one with block-diagonal B,
// or with one A where theirs are the same. Alphas become tensors or metadata. Values keep their
// dtype; where layers of different scales are fused and the ratio is not a power of two, B becomes
// F32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mflux/lora/convert/style.h"
#include "mflux/lora/load.h"

namespace mflux::lora {

struct ConvertedFile {
  std::string from = {};  // dialect of the source
  size_t layers = 0;
  size_t tensors = 0;
  uint64_t bytes = 0;
  std::vector<std::string> notes = {};
};

// The scales of `lora` go into the file; what has the scale 0 is left out.
//
// Writes `output` whole or not at all; what is there is replaced. Throws Error of kind lora that
// lists every key that does not fit `model` or that the dialect cannot express; then nothing is
// written.
ConvertedFile convert(
    const LoraSpec& lora,
    const BaseModel& model,
    WritingDialect to,
    const std::filesystem::path& output);

}  // namespace mflux::lora
