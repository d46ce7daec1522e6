// SPDX-License-Identifier: MIT
// Names: of models and LoRAs, files, layers, blocks with scales.
#include <cstdlib>

#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/base/paths.h"
#include "mflux/checkpoint/lora_base.h"
#include "mflux/hub/hub.h"
#include "mflux/lora/block_scales.h"
#include "mflux/lora/names.h"
#include "mflux/safetensors/file_name.h"
#include "mflux/safetensors/folder.h"
#include "mflux/safetensors/wrappers.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder& folder = with_models();
  static const auto base = lora_base(open_checkpoint(folder.path() / "flux"), false);
  ::setenv("HF_HUB_CACHE", folder.path().c_str(), 1);
  const std::string name(text_of(data, size));
  if (stays_inside(name)) {  // others may be files of this machine
    refusable([&] { hub::resolve_model(name); });
    refusable([&] { hub::resolve_lora(name); });
  }
  safetensors::parse_file_name(name);
  safetensors::without_wrappers(name);
  require(!safetensors::natural_less(name, name), "no name is less than itself");
  refusable([&] { lora::BlockScales(name, base).unused(); });
  lora::Names names(base);
  const lora::Place place = names.resolve(name);
  if (place.target == nullptr) names.missing_block(place).append(names.nearest(place));
  return 0;
}

}  // namespace mflux::fuzz
