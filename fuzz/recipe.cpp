// SPDX-License-Identifier: MIT
// The recipe in a PNG file, or one that is put into a PNG file here.
#include "cli/recipe.h"

#include "fuzz/input.h"
#include "mflux/image/png.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  const std::string text(text_of(data, size));
  std::string file = text;
  if (!text.starts_with("\x89PNG")) {
    const Picture pixel{.height = 1, .width = 1, .rgb = {1, 2, 3}};
    const auto png = encode_png(pixel, {{kRecipeKeyword, text}});
    file.assign(reinterpret_cast<const char*>(png.data()), png.size());
  }
  const Laid laid(folder, {{"x.png", file}});
  refusable([] { cli::read_recipe(folder.path() / "x.png"); });
  return 0;
}

}  // namespace mflux::fuzz
