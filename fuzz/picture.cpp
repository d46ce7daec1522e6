// SPDX-License-Identifier: MIT
// Pictures of all formats, and what tells which way up they are.
#include "fuzz/input.h"
#include "mflux/image/orientation.h"
#include "mflux/image/png.h"

namespace mflux::fuzz {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const Transparency how : {Transparency::on_white, Transparency::dropped}) {
    refusable([&] {
      const Picture picture = decode_picture(bytes, "x", how);
      const auto pixels = static_cast<size_t>(picture.height) * static_cast<size_t>(picture.width);
      require(picture.rgb.size() == 3 * pixels && pixels > 0, "three values a pixel");
    });
  }
  refusable([&] { decode_png_text(bytes, "x"); });
  refusable([&] { exif_orientation(bytes); });
  refusable([&] { xmp_orientation(text_of(data, size)); });
  return 0;
}

}  // namespace mflux::fuzz
