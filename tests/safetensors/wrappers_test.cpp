// SPDX-License-Identifier: MIT
#include "mflux/safetensors/wrappers.h"

#include <doctest/doctest.h>

namespace mflux::safetensors {
namespace {

TEST_CASE("what PyTorch's wrappers add to a name goes, wherever it stands") {
  const struct {
    const char* name;
    const char* expected;
  } kCases[] = {
      {"blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"_orig_mod.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"module.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"module._orig_mod.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"_orig_mod.module.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"_orig_mod._orig_mod.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"module.module.blocks.0.to_q.weight", "blocks.0.to_q.weight"},
      {"blocks.0._orig_mod.to_q.weight", "blocks.0.to_q.weight"},
      {"blocks.0.to_q._orig_mod.weight", "blocks.0.to_q.weight"},
      {"_fsdp_wrapped_module.blocks.0._fsdp_wrapped_module.to_q", "blocks.0.to_q"},
      {"blocks.0._checkpoint_wrapped_module.to_q", "blocks.0.to_q"},
      {"transformer.module.blocks.0.to_q", "transformer.blocks.0.to_q"},
      {"lora_unet__orig_mod_blocks_0_to_q.alpha", "lora_unet_blocks_0_to_q.alpha"},
      {"lora_unet_blocks_0__orig_mod_to_q.alpha", "lora_unet_blocks_0_to_q.alpha"},
      {"lora_unet_blocks_0_to_q__orig_mod.alpha", "lora_unet_blocks_0_to_q.alpha"},
      // Words that only look like it.
      {"my_module.x", "my_module.x"},
      {"modules.x", "modules.x"},
      {"x.module", "x.module"},
      {"lora_unet_module_x", "lora_unet_module_x"},
      {"a_orig_model.x", "a_orig_model.x"},
      {"", ""},
  };
  for (const auto& c : kCases) {
    CAPTURE(c.name);
    CHECK(without_wrappers(c.name) == c.expected);
  }
}

}  // namespace
}  // namespace mflux::safetensors
