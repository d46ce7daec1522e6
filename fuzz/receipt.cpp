// SPDX-License-Identifier: MIT
// Files over those of a saved folder, the receipt above all: verified, inspected, made a page of.
#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/inspect.h"
#include "mflux/report.h"
#include "mflux/verify.h"

using namespace mflux;

namespace {

fuzz::Folder& with_save() {
  static fuzz::Folder folder;
  [[maybe_unused]] static const bool kSaved = [] {
    using namespace mflux::testing;
    const auto& models = fuzz::with_models();
    const TempDir files;
    const std::string layer = "transformer.transformer_blocks.0.attn.to_q.lora_";
    write_safetensors(
        files / "x.safetensors",
        {f32_tensor(layer + "A.weight", {1, 64}, std::vector(64, 0.5F)),
         f32_tensor(layer + "B.weight", {64, 1}, std::vector(64, 0.5F))});
    save(
        {.model = (models.path() / "flux" / "transformer").string(),
         .output = folder.path() / "out",
         .bits = 8,
         .loras = {{.name = (files / "x.safetensors").string()}}});
    return true;
  }();
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::Folder& folder = with_save();
  static const auto out = folder.path() / "out";
  const std::string_view input = fuzz::text_of(data, size);
  const fuzz::Laid laid(folder, fuzz::split(input, "out/bake.json"));
  fuzz::refusable([&] { parse_receipt(input, "bake.json"); });
  fuzz::refusable([] { verify({.folder = out}); });
  fuzz::refusable([] { inspect({.path = out.string()}); });
  fuzz::refusable([] { format_report(gather_report({.folder = out})); });
  return 0;
}
