// SPDX-License-Identifier: MIT
// A checkpoint, as the LoRA loader sees it.
#pragma once

#include <optional>

#include "mflux/checkpoint/checkpoint.h"
#include "mflux/lora/base_model.h"
#include "mflux/lora/survey.h"

namespace mflux {

// `transformer_only`: a LoRA may not touch the other components.
lora::BaseModel lora_base(const Checkpoint& model, bool transformer_only = false);

// Stands in for a model where there is only the LoRA: the layers of the published one in the widths
// that the file shows. None if neither `family` (a name of find_family(), or "") nor the names tell
// for which family it is.
std::optional<lora::BaseModel> published_base(const lora::Survey& survey, std::string_view family);

// How many of the file's modules are layers of the model.
size_t count_known(const lora::Survey& survey, const lora::BaseModel& base);

}  // namespace mflux
