// SPDX-License-Identifier: MIT
#include "mflux/models/foreign.h"

#include <algorithm>
#include <array>

#include "mflux/base/error.h"

namespace mflux::models {
namespace {

struct Format {
  std::string_view part;  // of a tensor's name
  std::string_view title;
  std::string_view advice;
};

constexpr std::string_view kScaledFp8 = "scaled fp8: weights of 8 bits with a scale of their own";
constexpr std::string_view kBitsandbytes = "bitsandbytes (nf4, fp4 or int8)";
constexpr std::string_view kTakeBf16 = "Take the model's BF16 release; --quantize packs it here";
constexpr std::string_view kTakeFp8 =
    "Take the model's BF16 release, or the plain fp8 one without scales";

constexpr std::array kFormats = {
    Format{"comfy_quant", "ComfyUI's packed weights", kTakeBf16},
    Format{"scaled_fp8", kScaledFp8, kTakeFp8},
    Format{"scale_weight", kScaledFp8, kTakeFp8},
    Format{"scale_input", kScaledFp8, kTakeFp8},
    Format{"weight_scale", kScaledFp8, kTakeFp8},
    Format{"input_scale", kScaledFp8, kTakeFp8},
    Format{".absmax", kBitsandbytes, kTakeBf16},
    Format{".quant_map", kBitsandbytes, kTakeBf16},
    Format{".quant_state", kBitsandbytes, kTakeBf16},
    Format{".nested_absmax", kBitsandbytes, kTakeBf16},
    Format{".nested_quant_map", kBitsandbytes, kTakeBf16},
    Format{".SCB", kBitsandbytes, kTakeBf16},
    Format{".weight_format", kBitsandbytes, kTakeBf16},
    Format{".qweight", "Nunchaku, GPTQ or AWQ", kTakeBf16},
    Format{".qzeros", "GPTQ or AWQ", kTakeBf16},
    Format{".wscales", "Nunchaku", kTakeBf16},
    Format{".weight_packed", "compressed-tensors", kTakeBf16},
    Format{".weight._data", "quanto or torchao", kTakeBf16},
    Format{".weight._scale", "quanto or torchao", kTakeBf16},
    Format{".weight_zero_point", "torchao or compressed-tensors", kTakeBf16},
    Format{".lora_", "the layers of a LoRA inside a model file", "Give the LoRA with --lora"},
};

}  // namespace

std::string shown_name(const SourceComponent& component) {
  if (!component.file.empty()) return component.file;
  return component.name.empty() ? "the file" : component.name;
}

void refuse_packed_format(const SourceComponent& component) {
  for (const Format& format : kFormats) {
    const auto found = std::ranges::find_if(component.tensors, [&](const auto& tensor) {
      return tensor.name.find(format.part) != std::string::npos;
    });
    if (found == component.tensors.end()) continue;
    fail(
        "{}: tensor '{}' shows {}, which is not read.\n  {}.",
        shown_name(component),
        found->name,
        format.title,
        format.advice);
  }
}

}  // namespace mflux::models
