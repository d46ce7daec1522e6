// SPDX-License-Identifier: MIT
// Files over those of a saved folder, the receipt above all: verified, inspected, made a page of.
#include "fuzz/input.h"
#include "fuzz/models.h"
#include "mflux/inspect.h"
#include "mflux/report.h"
#include "mflux/save.h"
#include "mflux/verify.h"

namespace mflux::fuzz {
namespace {

Folder& with_save() {
  static Folder folder;
  [[maybe_unused]] static const bool kSaved = [] {
    using mflux::testing::f32_tensor;
    const auto& models = with_models();
    const mflux::testing::TempDir files;
    const std::string layer = "transformer.transformer_blocks.0.attn.to_q.lora_";
    mflux::testing::write_safetensors(
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
  static Folder& folder = with_save();
  static const auto out = folder.path() / "out";
  const std::string_view input = text_of(data, size);
  const Laid laid(folder, split(input, "out/bake.json"));
  refusable([&] { parse_receipt(input, "bake.json"); });
  refusable([] { verify({.folder = out}); });
  refusable([] { inspect({.path = out.string()}); });
  refusable([] { format_report(gather_report({.folder = out})); });
  return 0;
}

}  // namespace mflux::fuzz
